"""Intervals and tests over seeds, held to scipy, to cases by hand and to a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ibjax.core.errors import InputError
from ibjax.report.matched import at_rate, matched
from ibjax.report.statistics import against, bootstrap_interval, interval, paired, t_interval

VALUES = np.random.default_rng(3).normal(1.4, 0.1, 7)


def test_t_interval_by_hand():
  # n = 4, mean 2.5, sd = sqrt(5/3), t(0.975, 3) = 3.18245 from a printed table.
  half = 3.18245 * math.sqrt(5 / 3) / 2
  low, high = t_interval([1, 2, 3, 4])
  assert (low, high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)


def test_t_interval_is_scipys():
  wanted = stats.t.interval(0.95, len(VALUES) - 1, VALUES.mean(), stats.sem(VALUES))
  assert t_interval(VALUES) == pytest.approx(wanted, rel=1e-12)


def coverage(make, n, trials=600):
  rng = np.random.default_rng(0)
  hits = 0
  for _ in range(trials):
    low, high = make(rng.normal(5.0, 2.0, n))
    hits += low <= 5.0 <= high
  return hits / trials


def test_t_interval_covers_with_few_seeds():
  assert coverage(t_interval, 3) == pytest.approx(0.95, abs=0.03)


def test_bootstrap_covers_with_many_seeds_and_too_little_with_few():
  assert coverage(bootstrap_interval, 50, trials=300) == pytest.approx(0.95, abs=0.035)
  assert coverage(bootstrap_interval, 3, trials=300) < 0.85  # as its docstring warns


def test_bootstrap_is_the_same_every_time_and_within_the_values():
  low, high = bootstrap_interval(VALUES)
  assert (low, high) == bootstrap_interval(VALUES)
  assert VALUES.min() <= low < VALUES.mean() < high <= VALUES.max()


@pytest.mark.parametrize("kind", ["t", "bootstrap"])
def test_one_seed_has_a_mean_and_no_interval(kind):
  one = interval([0.3], kind)
  assert (one.mean, one.n) == (0.3, 1)
  assert math.isnan(one.low) and math.isnan(one.high) and math.isnan(one.sd)
  assert math.isnan(interval([], kind).mean)


def test_an_unknown_interval_is_named():
  with pytest.raises(InputError, match="Did you mean 'bootstrap'"):
    interval([1.0, 2.0], "bootstap")


def test_one_sample_is_scipys():
  found = against(VALUES, 1.3)
  assert found.test == "one-sample t"
  assert found.p == pytest.approx(stats.ttest_1samp(VALUES, 1.3).pvalue, rel=1e-10)
  assert found.difference == pytest.approx(VALUES.mean() - 1.3)


def test_welch_is_scipys():
  found = against(VALUES, 1.3, 0.2, 5)
  wanted = stats.ttest_ind_from_stats(
    VALUES.mean(), VALUES.std(ddof=1), len(VALUES), 1.3, 0.2, 5, equal_var=False
  )
  assert found.test == "Welch t"
  assert found.p == pytest.approx(wanted.pvalue, rel=1e-10)


@pytest.mark.parametrize(("sd", "n"), [(0.2, None), (None, 5), (0.2, 1)])
def test_welch_needs_both_spread_and_count(sd, n):
  assert against(VALUES, 1.3, sd, n) == against(VALUES, 1.3)


def test_paired_is_scipys():
  other = VALUES + np.random.default_rng(1).normal(0.05, 0.05, len(VALUES))
  assert paired(VALUES, other).p == pytest.approx(stats.ttest_rel(VALUES, other).pvalue, rel=1e-10)
  with pytest.raises(InputError, match="2 and 1"):
    paired([1.0, 2.0], [1.0])


def test_too_few_seeds_say_nothing_and_equal_seeds_say_all():
  assert against([1.0], 2.0).significant is None
  assert against([1.0, 1.0], 2.0).significant is True
  assert against([2.0, 2.0], 2.0).significant is False


# At an equal rate.


def curve(error, rates, seeds=(0, 1)):
  return [{"seed": s, "test/rate_nats": r, "err": error(r) + s} for r in rates for s in seeds]


def test_what_is_linear_in_log_rate_is_interpolated_exactly():
  rows = curve(lambda r: 3 - 2 * math.log(r), (1.0, 5.0, 30.0))
  found = at_rate(rows[::-1], at=12.5, key="err")
  wanted = 3 - 2 * math.log(12.5)
  assert found == pytest.approx({0: wanted, 1: wanted + 1})


def test_a_seed_that_does_not_reach_the_rate_is_left_out():
  rows = curve(lambda r: r, (1.0, 10.0)) + curve(lambda r: r, (20.0,), seeds=(1,))
  assert set(at_rate(rows, at=15.0, key="err")) == {1}
  assert at_rate(rows, at=0.5, key="err") == {} == at_rate(rows, at=21.0, key="err")


def test_it_never_leaves_the_range_of_its_neighbours():
  rows = curve(lambda r: {1.0: 0.0, 2.0: 0.0, 3.0: 1.0, 4.0: 1.0}[r], (1.0, 2.0, 3.0, 4.0))
  values = [at_rate(rows, at=at, key="err")[0] for at in np.linspace(1, 4, 50)]
  assert min(values) == 0 and max(values) == 1 and values == sorted(values)


def test_a_collapsed_run_has_no_place_on_a_log_axis():
  rows = curve(lambda r: r, (0.0, 1.0, 2.0))
  assert at_rate(rows, at=1.0, key="err")[0] == 1.0
  with pytest.raises(InputError, match="above zero"):
    at_rate(rows, at=0.0, key="err")


def test_matched_takes_the_seeds_both_have():
  a, b = curve(lambda r: r, (1.0, 4.0), (0, 1, 2)), curve(lambda r: 2 * r, (1.0, 4.0), (1, 2, 3))
  assert matched(a, b, at=4.0, key="err") == {1: (5.0, 9.0), 2: (6.0, 10.0)}
