"""A pair of variables that can be sampled and whose information is known exactly."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibjax.core.errors import InputError

Arrays = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Task:
  """Variables X and Y, and in conditional tasks Z, with their exact information in nats.

  Attributes:
    id: the name `find` takes; the keys that have their defaults are left out of it.
    dx: width of x; 0 where x is a label.
    dy: width of y; 0 where y is a label.
    nats: exact I(X;Y), or I(X;Y|Z) where there is a z.
    sample: `sample(rng, n)` gives the arrays; `draw` is what to call.
    source: where the task and its exact value come from, or how they follow.
    entropies: exact entropies in nats, "x", "y", "xy", "z" where they are known: of labels, and of
      real variables with finitely many values, H; of other real variables the differential h; of
      a label and a real variable H(Y) + h(X|Y).
    dz: width of z; 0 where z is a label; None without a z.
    x_shape: shape of one x where it is more than a row of numbers, e.g. of an image.
    classes: numbers of labels, "x", "y", "z" where they are labels.
    margins: "normal" or "uniform" where every coordinate of x and y is standard normal, or uniform
      on (0, 1): transforms know their entropies then; "" otherwise.
    stream: tasks of the same stream draw the same rows, e.g. a task and its transforms.
    table: p(x, y) or p(x, y, z) of a task of labels that is drawn from one.
  """

  id: str
  dx: int
  dy: int
  nats: float
  sample: Callable[[np.random.Generator, int], Arrays]
  source: str
  entropies: Mapping[str, float] = dataclasses.field(default_factory=dict)
  dz: int | None = None
  x_shape: tuple[int, ...] = ()
  classes: Mapping[str, int] = dataclasses.field(default_factory=dict)
  margins: str = ""
  stream: str = ""
  table: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

  @property
  def x_kind(self) -> str:
    """What x is: "real" or "labels"."""
    return "real" if self.dx else "labels"

  @property
  def y_kind(self) -> str:
    """What y is: "real" or "labels"."""
    return "real" if self.dy else "labels"

  def draw(self, n: int, seed: int = 0) -> Arrays:
    """Draws independent rows.

    Args:
      n: how many, at least 1.
      seed: at least 0; the same n and seed give the same rows on every machine whose numpy
        draws and rounds alike.

    Returns:
      (x, y), or (x, y, z) where the task has a z: float64 [n, d], or int64 labels [n].

    Raises:
      InputError: n or seed is too small.
    """
    if n < 1 or seed < 0:
      raise InputError(f"{self.id}: n={n} and seed={seed}; n must be at least 1, seed at least 0.")
    digest = hashlib.sha256((self.stream or self.id).encode()).digest()
    rng = np.random.default_rng([int.from_bytes(digest[:8], "little"), seed])
    return self.sample(rng, n)


def family(build: Callable[..., Task]) -> Callable[..., Task]:
  """Decorates a factory of tasks, so that each task is named after the keywords that made it.

  Args:
    build: a factory whose keywords are annotated int, float, str or tuple[float, ...] and all
      have defaults; what it gives as `id` is replaced.

  Returns:
    The factory.

  Example:
    >>> from ibjax.data.synthetic.normal import gaussian
    >>> gaussian(d=3, rho=(0.6,)).id
    'gaussian:d=3,rho=0.6'
  """

  @functools.wraps(build)
  def named(**keywords: Any) -> Task:
    defaults = {key: p.default for key, p in inspect.signature(build).parameters.items()}
    task = build(**keywords)
    parts = [
      f"{key}={_text(keywords[key])}"
      for key, default in defaults.items()
      if key in keywords and keywords[key] != default
    ]
    name = build.__name__
    return dataclasses.replace(task, id=f"{name}:{','.join(parts)}" if parts else name)

  return named


def joint(x: float, y: float, nats: float) -> dict[str, float]:
  """Entropies of a pair whose information is known too.

  Args:
    x: entropy of X, nats.
    y: entropy of Y, nats.
    nats: I(X;Y).

  Returns:
    "x", "y" and "xy".
  """
  return {"x": float(x), "y": float(y), "xy": float(x + y - nats)}


def extended(name: str, key: str, value: str) -> str:
  """Adds a key to the name of a task.

  Args:
    name: "family" or "family:key=value,...".
    key: the new key.
    value: its value.

  Returns:
    The longer name.
  """
  return f"{name}{',' if ':' in name else ':'}{key}={value}"


def column(values: np.ndarray) -> np.ndarray:
  """Makes [n] real values the [n, 1] that tasks give.

  Args:
    values: [n].

  Returns:
    [n, 1] float64.
  """
  return np.asarray(values, np.float64)[:, None]


def _text(value: Any) -> str:
  values = value if isinstance(value, tuple) else (value,)
  return "/".join(v if isinstance(v, str) else f"{v:.12g}" for v in values)
