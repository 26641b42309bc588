"""Intervals by a stated method: delta, subsampling, jackknife; never a bootstrap of neighbours.

A bootstrap draws rows twice, and a duplicate is a neighbour at distance zero: for estimators by
nearest neighbours its intervals cover the truth in none of ten trials.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from scipy import stats

from ibjax.core.estimate import Value
from ibjax.estimators.base import samples

Array = jax.Array
SUBSETS = 10
PART = 20  # rows a part needs at least
# Neighbours' variance times n still grows with n: by half from 50 rows to 500. Parts smaller than
# this are avoided, by fewer parts that are drawn again until they give DEGREES of freedom.
LARGE = 1000
DEGREES = 9


def interval(
  estimator: Any, found: Value, given: tuple[Any, Any, Any], key: Array
) -> tuple[float, float, float, str]:
  """The interval an estimator offers, around its value.

  Args:
    estimator: the `Estimator`.
    found: its value.
    given: x, y, z as `samples.check` gives them.
    key: a typed random key.

  Returns:
    (stderr, lower, upper, how): nats, NaN where there is none; `how` is the method and level, or
    why there is none.
  """
  n = len(given[0])
  if estimator.interval != "none" and not math.isfinite(float(found.nats)):
    return math.nan, math.nan, math.nan, "none: the estimate is not a number"
  degrees = math.inf
  stderr = math.nan if found.stderr is None else float(found.stderr)
  if estimator.interval == "delta":
    assert found.local is not None, f"{estimator.name} gives no local values"
    stderr = float(np.std(np.asarray(found.local, np.float64), ddof=1) / math.sqrt(n))
  elif estimator.interval == "subsampling":
    stderr, degrees = _subsampling(estimator, given, key)
  elif estimator.interval == "jackknife":
    stderr, degrees = _jackknife(estimator, given, key)
  elif estimator.interval == "none":
    return stderr, math.nan, math.nan, f"none: {estimator.no_interval}"
  half = stderr * float(stats.t.ppf(0.5 + 0.5 * estimator.level, max(degrees, 1.0)))
  nats = float(found.nats)
  how = f"{estimator.interval}, {100 * estimator.level:g}%"
  if degrees == 0:
    how = f"none: {n} rows are too few for two parts of {_least(estimator)}"
  return stderr, nats - half, nats + half, how


def _least(estimator: Any) -> int:
  return max(PART, 2 * estimator.min_n)


def _parts(estimator: Any, given: Any, key: Array, large: int, again: int) -> list[np.ndarray]:
  """Disjoint parts of the rows, two to ten, of `large` rows where that leaves enough."""
  n = len(given[0])
  if n < 2 * _least(estimator):
    return []
  seed = [*np.asarray(jax.random.key_data(key)).ravel(), again]
  order = np.random.default_rng(seed).permutation(n)
  return np.array_split(order, max(2, min(SUBSETS, n // max(large, _least(estimator)))))


def _subsampling(estimator: Any, given: Any, key: Array) -> tuple[float, float]:
  """Disjoint parts of n/B rows: the variance at n is that at n/B, divided by B."""
  variances: list[float] = []
  degrees = 0
  while degrees < DEGREES:
    parts = _parts(estimator, given, key, LARGE, len(variances))
    if not parts:
      return math.nan, 0.0
    values = [float(estimator.value(*samples.take(given, rows), key).nats) for rows in parts]
    variances.append(float(np.var(values, ddof=1)) / len(parts))
    degrees += len(parts) - 1
  return math.sqrt(np.mean(variances)), float(degrees)


def _jackknife(estimator: Any, given: Any, key: Array) -> tuple[float, float]:
  """Leaving out one of B disjoint parts at a time."""
  parts = _parts(estimator, given, key, PART, 0)
  if not parts:
    return math.nan, 0.0
  everything = np.concatenate(parts)
  values = []
  for rows in parts:
    kept = np.setdiff1d(everything, rows)
    values.append(float(estimator.value(*samples.take(given, kept), key).nats))
  spread = (len(parts) - 1) * float(np.mean((np.array(values) - np.mean(values)) ** 2))
  return math.sqrt(spread), len(parts) - 1.0
