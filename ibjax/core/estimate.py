"""The contract of estimators: what one says of itself, and what it gives back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array

QUANTITIES = (
  "mutual_information",
  "conditional_mutual_information",
  "entropy",
  "dependence",  # a measure that is zero at independence, but is no mutual information
  "dimension",
)
BOUNDS = ("lower", "upper", "neither")
INVARIANCES = (
  "translation",  # a constant added to each column
  "scale",  # all of x, or all of y, times one positive number
  "affine",  # an invertible linear map of the columns of x, another of y
  "monotone",  # an increasing function of each column by itself
  "rows",  # another order of the rows
  "swap",  # x and y change places
)


class Note(NamedTuple):
  """A warning as data.

  Attributes:
    code: a short fixed name, e.g. "ties", for programs.
    text: a plain sentence with the numbers found and what to do, for people.
  """

  code: str
  text: str


class Value(NamedTuple):
  """What an estimator's pure function gives, before intervals and warnings.

  Attributes:
    nats: scalar.
    local: [n] contributions whose mean is `nats` and whose spread gives its standard error by
      the delta method; None where there are none.
    stderr: scalar nats where the method has its own formula; None otherwise.
    extra: name (with its unit) -> array, for `diagnostics`.
    notes: warnings the method itself has; () under `jit`.
  """

  nats: Array
  local: Array | None = None
  stderr: Array | None = None
  extra: Mapping[str, Any] = {}
  notes: tuple[Note, ...] = ()


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with what is needed to trust it or not.

  Attributes:
    nats: the estimate.
    lower: lower end of the interval; NaN where the estimator offers none.
    upper: upper end of the interval; NaN where the estimator offers none.
    stderr: standard error, NaN where there is none.
    n: number of samples used.
    diagnostics: "estimator", "quantity", "bound" ("lower", "upper" or "neither"), "interval" (its
      method and level, or why there is none), "warnings" (a tuple of `Note`), and the method's
      own values.
  """

  nats: float
  lower: float
  upper: float
  stderr: float
  n: int
  diagnostics: Mapping[str, Any]

  @property
  def bound(self) -> str:
    """Which bound it is: "lower", "upper" or "neither"."""
    return str(self.diagnostics["bound"])

  @property
  def warnings(self) -> tuple[Note, ...]:
    """The warnings; () when nothing was found."""
    return tuple(self.diagnostics["warnings"])

  def with_notes(self, notes: tuple[Note, ...]) -> Estimate:
    """Adds warnings.

    Args:
      notes: what to add; those whose code and text are there already are left out.

    Returns:
      A new `Estimate`.
    """
    new = tuple(note for note in notes if note not in self.warnings)
    return dataclasses.replace(
      self, diagnostics={**self.diagnostics, "warnings": self.warnings + new}
    )

  def as_json(self) -> dict[str, Any]:
    """Returns the JSON object of `ibjax estimate --json`; what is not a number is None."""

    def number(value: float) -> float | None:
      return value if math.isfinite(value) else None

    return {
      "estimator": self.diagnostics["estimator"],
      "nats": number(self.nats),
      "lower": number(self.lower),
      "upper": number(self.upper),
      "stderr": number(self.stderr),
      "n": self.n,
      "warnings": [note.text for note in self.warnings],
    }


class Truth(NamedTuple):
  """A task on which an estimator is held to the exact value, kept beside the method.

  Attributes:
    task: a task's name, see `ibjax.data.synthetic.find`.
    n: how many samples are drawn (seed 0).
    tolerance: how far from the exact value the estimate may be, nats. A lower bound may be lower
      by this and higher by its noise only.
    hyper: keyword hyperparameters for the factory.
    key: which of the task's exact values is meant: "nats" (I(X;Y)), or "x", "y", "xy" for H.
  """

  task: str
  n: int
  tolerance: float
  hyper: Mapping[str, Any] = {}
  key: str = "nats"
