"""Two methods compared at an equal rate, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ibjax.core.errors import InputError
from ibjax.report.runs import is_number

RATE = "test/rate_nats"

Rows = Sequence[Mapping[str, Any]]


def at_rate(curve: Rows, *, at: float, key: str, rate: str = RATE) -> dict[int, float]:
  """A metric of a method at a given rate, per seed.

  Between the method's runs the metric is taken as piecewise linear in log(rate), which follows
  the runs without overshooting. Outside their range there is no value: nothing is extrapolated.

  Args:
    curve: result rows of the method's runs, several rates a seed; each with "seed".
    at: the rate, above zero, in the unit of `rate`.
    key: the metric.
    rate: the metric that is the rate; runs at which it is not above zero are left out.

  Returns:
    Seed -> value; a seed whose runs do not bracket the rate is left out.

  Raises:
    InputError: `at` is not above zero.

  Example:
    >>> from ibjax.report.matched import at_rate
    >>> curve = [{"seed": 0, "r": 1.0, "err": 0.2}, {"seed": 0, "r": 100.0, "err": 0.1}]
    >>> round(at_rate(curve, at=10.0, key="err", rate="r")[0], 6)
    0.15
  """
  if not at > 0:
    raise InputError(f"a matched rate must be above zero (its logarithm is taken); got {at}.")
  found = {}
  for seed, points in _by_seed(curve, key, rate).items():
    rates, values = points
    if rates[0] <= at <= rates[-1]:
      # The rate itself is known there; on a line in its logarithm it would not be.
      found[seed] = at if key == rate else float(np.interp(math.log(at), np.log(rates), values))
  return found


def matched(
  curve_a: Rows, curve_b: Rows, *, at: float, key: str, rate: str = RATE
) -> dict[int, tuple[float, float]]:
  """A metric of two methods at one rate, for the seeds that both have.

  Args:
    curve_a: result rows of the first method's runs.
    curve_b: result rows of the second method's runs.
    at: the rate, above zero.
    key: the metric.
    rate: the metric that is the rate.

  Returns:
    Seed -> (value of a, value of b).

  Example:
    >>> from ibjax.report.matched import matched
    >>> a = [{"seed": 0, "r": 1.0, "err": 0.2}, {"seed": 0, "r": 100.0, "err": 0.1}]
    >>> b = [{"seed": 0, "r": 10.0, "err": 0.5}]
    >>> pair = matched(a, b, at=10.0, key="err", rate="r")[0]
    >>> round(pair[0] - pair[1], 6)
    -0.35
  """
  a = at_rate(curve_a, at=at, key=key, rate=rate)
  b = at_rate(curve_b, at=at, key=key, rate=rate)
  return {seed: (a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())}


def _by_seed(
  rows: Iterable[Mapping[str, Any]], key: str, rate: str
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  seeds: dict[int, dict[float, list[float]]] = {}
  for row in rows:
    if is_number(row.get(rate)) and is_number(row.get(key)) and row[rate] > 0:
      seeds.setdefault(int(row["seed"]), {}).setdefault(float(row[rate]), []).append(row[key])
  return {
    seed: (
      np.array(sorted(points)),
      np.array([float(np.mean(points[at])) for at in sorted(points)]),
    )
    for seed, points in seeds.items()
  }
