"""Draws from axes: independent ones, and Latin hypercubes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ibjax.core.errors import ConfigError, unknown

DRAWS = ("random", "lhs")


@dataclasses.dataclass(frozen=True)
class Range:
  """All numbers between two bounds, both included.

  Attributes:
    low: the smaller bound.
    high: the larger bound.
    log: whether equal ratios are equally likely, instead of equal differences.
    integer: whether only whole numbers are drawn.
  """

  low: float
  high: float
  log: bool = False
  integer: bool = False

  def at(self, fractions: np.ndarray) -> list[float] | list[int]:
    """Returns the numbers that so much of the range lies below.

    Args:
      fractions: [n], in [0, 1).

    Returns:
      n numbers; whole ones each take an equal part of [0, 1), on the scale of the range.

    Example:
      >>> import numpy as np
      >>> from ibjax.core.draws import Range
      >>> Range(1.0, 3.0, integer=True).at(np.array([0.0, 0.5, 0.99]))
      [1, 2, 3]
    """
    # A whole number k stands for [k, k + 1), so that the last one is as likely as the first.
    low, high = self.low, self.high + self.integer
    if self.log:
      values = low * (high / low) ** fractions
    else:
      values = low + fractions * (high - low)
    values = np.clip(values, self.low, self.high)
    return [int(np.floor(v)) if self.integer else float(v) for v in values]

  def __str__(self) -> str:
    bounds = (int(self.low), int(self.high)) if self.integer else (self.low, self.high)
    return ":".join([*map(repr, bounds), *["int"] * self.integer, *["log"] * self.log])


Axis = tuple[str, "tuple[Any, ...] | Range"]


def sampled(axes: Sequence[Axis], kind: str, count: int, seed: int) -> list[dict[str, Any]]:
  """Draws points from ranges and lists (each value of a list is equally likely).

  Args:
    axes: (key, values), lists or ranges.
    kind: "random", independent draws; or "lhs", a Latin hypercube: each axis is cut into `count`
      equally likely strata, and each stratum holds one point.
    count: number of points, at least 1.
    seed: of the draws; at least 0.

  Returns:
    `count` points {key: value}, the same for the same arguments. Points of lists and whole numbers
    may repeat.

  Raises:
    ConfigError: no axis or an empty one, less than one point, a negative seed or another kind.

  Example:
    >>> from ibjax.core.axes import parse_axes
    >>> from ibjax.core.draws import sampled
    >>> drawn = sampled(parse_axes("bottleneck.dim=1:4:int"), "lhs", 4, seed=0)
    >>> sorted(point["bottleneck.dim"] for point in drawn)
    [1, 2, 3, 4]
  """
  if kind not in DRAWS:
    raise ConfigError(unknown("kind of draw", kind, DRAWS))
  check_axes(axes)
  if count < 1:
    raise ConfigError(f"{count} points are an empty sweep; ask for at least 1.")
  if seed < 0:
    raise ConfigError(f"the sweep's seed is {seed}; it must be at least 0.")
  if kind == "random":
    fractions = np.random.default_rng(seed).random((count, len(axes)))
  else:
    from scipy.stats import qmc  # slow to import, and only this needs it

    fractions = qmc.LatinHypercube(len(axes), rng=np.random.default_rng(seed)).random(count)
  columns = [
    values.at(fractions[:, i])
    if isinstance(values, Range)
    else [values[int(fraction * len(values))] for fraction in fractions[:, i]]
    for i, (_, values) in enumerate(axes)
  ]
  return [dict(zip((key for key, _ in axes), row)) for row in zip(*columns)]


def unique(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns the points without repeats, in order.

  Args:
    found: points {key: value}.

  Returns:
    The first of each.
  """
  # By text, because True == 1 and 1.0 == 1 in Python, while they are different values here.
  return list({repr(sorted(point.items())): dict(point) for point in reversed(found)}.values())[
    ::-1
  ]


def check_axes(axes: Sequence[Axis]) -> None:
  """Raises ConfigError unless there is an axis, and every axis has a value.

  Args:
    axes: (key, values), lists or ranges.

  Raises:
    ConfigError: no axis, or one without values; names it.
  """
  if not axes:
    raise ConfigError("there is no axis (an empty sweep).")
  for key, values in axes:
    if not isinstance(values, Range) and not values:
      raise ConfigError(f"axis '{key}' has no values (an axis of length zero).")
