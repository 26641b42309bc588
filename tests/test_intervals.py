"""Intervals keep their closed forms on an estimator whose error is known: the mean."""

import math

import numpy as np
import pytest
from scipy import stats

from ibjax.core.estimate import Value
from ibjax.estimators.base import intervals, samples
from ibjax.estimators.base.contract import Estimator

N = 400
X = np.random.default_rng(0).exponential(size=(N, 1))


def mean(interval):
  def value(x, y, z, key):
    return Value(np.mean(x), local=x[:, 0])

  return Estimator("mean", value, y="none", interval=interval, bounded_by_entropy=False)


def test_delta_is_the_standard_error_of_the_mean():
  found = mean("delta")(X)
  assert found.stderr == pytest.approx(np.std(X, ddof=1) / math.sqrt(N))
  half = stats.norm.ppf(0.975) * found.stderr
  assert (found.lower, found.upper) == pytest.approx((found.nats - half, found.nats + half))


def test_jackknife_of_a_mean_is_the_spread_of_its_parts():
  # Leaving out one of B equal parts moves a mean by (mean - part) / (B - 1).
  count, size = intervals.SUBSETS, N // intervals.SUBSETS
  seen = []

  def value(x, y, z, key):
    seen.append(x[:, 0])
    return Value(np.mean(x))

  found = Estimator("mean", value, y="none", interval="jackknife", bounded_by_entropy=False)(X)
  left_out = [(np.sum(X) - np.sum(kept)) / size for kept in seen[1:]]
  assert len(left_out) == count and all(len(kept) == N - size for kept in seen[1:])
  assert found.stderr == pytest.approx(np.std(left_out, ddof=1) / math.sqrt(count))
  half = stats.t.ppf(0.975, count - 1) * found.stderr
  assert found.upper - found.nats == pytest.approx(half)


def test_subsampling_is_the_mean_variance_of_disjoint_parts():
  seen = []

  def value(x, y, z, key):
    seen.append(x[:, 0])
    return Value(np.mean(x))

  found = Estimator("mean", value, y="none", interval="subsampling", bounded_by_entropy=False)(X)
  halves = list(zip(seen[1::2], seen[2::2]))
  assert len(halves) == intervals.DEGREES  # two parts give one degree of freedom
  for pair in halves:
    assert sorted(np.concatenate(pair)) == sorted(X[:, 0])
  spread = np.mean([np.var([np.mean(part) for part in pair], ddof=1) / 2 for pair in halves])
  assert found.stderr == pytest.approx(math.sqrt(spread))


def test_too_few_rows_for_parts_give_no_interval():
  found = mean("jackknife")(X[: intervals.PART])
  assert math.isnan(found.lower) and "too few" in found.diagnostics["interval"]


def test_labels_of_some_rows_are_numbered_anew():
  labels = np.array([0, 1, 2, 2, 0])
  x, y, z = samples.take((X[:5], labels, None), np.array([2, 3, 4]))
  assert x.tolist() == X[2:5].tolist() and y.tolist() == [1, 1, 0] and z is None
