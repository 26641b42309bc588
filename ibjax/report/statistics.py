"""Means over seeds, their intervals, and whether they differ from a published number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from ibjax.core.errors import InputError, unknown

LEVEL = 0.95
KINDS = {"t": "Student t 95%", "bootstrap": "bootstrap 95%"}
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Interval:
  """A mean over seeds and its interval.

  Attributes:
    mean: mean of the values; NaN without any.
    low: lower end; NaN when fewer than two values say nothing about the spread.
    high: upper end, or NaN.
    sd: standard deviation with n - 1; NaN below two values.
    n: number of values.
    kind: how it was made, a key of `KINDS`.
  """

  mean: float
  low: float
  high: float
  sd: float
  n: int
  kind: str = "t"


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A test of our mean against another number.

  Attributes:
    test: which test, for the caption: "one-sample t", "Welch t" or "paired t".
    difference: our mean less the other number.
    p: two-sided p value; NaN when there are fewer than two values of ours.
  """

  test: str
  difference: float
  p: float

  @property
  def significant(self) -> bool | None:
    """Whether p is below 0.05; None when it cannot be said."""
    return None if math.isnan(self.p) else self.p < 1 - LEVEL


def interval(values: Sequence[float], kind: str = "t") -> Interval:
  """The mean of values and its 95% interval.

  Args:
    values: one value a seed, finite.
    kind: "t" (Student's t) or "bootstrap" (percentiles of resampled means).

  Returns:
    The interval.

  Raises:
    InputError: an unknown kind; names the nearest one.

  Example:
    >>> from ibjax.report.statistics import interval
    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.high - found.mean, 3)
    (2.0, 2.484)
  """
  if kind not in KINDS:
    raise InputError(unknown("interval", kind, KINDS))
  x = np.asarray(values, np.float64)
  mean = float(x.mean()) if len(x) else math.nan
  if len(x) < 2:
    return Interval(mean, math.nan, math.nan, math.nan, len(x), kind)
  low, high = t_interval(x) if kind == "t" else bootstrap_interval(x)
  return Interval(mean, low, high, float(x.std(ddof=1)), len(x), kind)


def t_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """Student's 95% interval of a mean: exact for normal values, however few.

  Formula:
    mean ± t(0.975, n - 1) · sd / √n

  Args:
    values: [n] values, n ≥ 2.

  Returns:
    (low, high).

  Example:
    >>> from ibjax.report.statistics import t_interval
    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
  """
  x = np.asarray(values, np.float64)
  half = float(stats.t.ppf(0.5 + LEVEL / 2, len(x) - 1)) * x.std(ddof=1) / math.sqrt(len(x))
  return float(x.mean() - half), float(x.mean() + half)


def bootstrap_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
  """The 95% percentile bootstrap interval of a mean; the same values give the same interval.

  It assumes no shape, but is too narrow for a few seeds: its spread is that of the values with
  n in place of n - 1.

  Args:
    values: [n] values, n ≥ 2.

  Returns:
    (low, high).

  Example:
    >>> from ibjax.report.statistics import bootstrap_interval
    >>> bootstrap_interval([5.0, 5.0, 5.0])
    (5.0, 5.0)
  """
  x = np.asarray(values, np.float64)
  means = x[np.random.default_rng(0).integers(0, len(x), (RESAMPLES, len(x)))].mean(axis=1)
  low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
  return float(low), float(high)


def against(
  values: Sequence[float], other: float, other_sd: float | None = None, other_n: int | None = None
) -> Comparison:
  """Tests our mean against a published one.

  Welch's t test where the paper gives a standard deviation and how many runs it is over;
  otherwise the number is taken as exact and the test is Student's one-sample t.

  Args:
    values: [n] our values, one a seed.
    other: the published mean.
    other_sd: its standard deviation over runs, or None.
    other_n: its number of runs, or None; below 2 says nothing about the spread.

  Returns:
    The comparison; p is NaN when n < 2.

  Example:
    >>> from ibjax.report.statistics import against
    >>> against([1.0, 2.0, 3.0], 2.0).p
    1.0
    >>> against([1.0], 2.0).significant is None
    True
  """
  x = np.asarray(values, np.float64)
  welch = other_sd is not None and other_n is not None and other_n > 1
  name = "Welch t" if welch else "one-sample t"
  difference = float(x.mean() - other) if len(x) else math.nan
  if len(x) < 2:
    return Comparison(name, difference, math.nan)
  ours, freedom = float(x.var(ddof=1)) / len(x), float(len(x) - 1)
  variance = ours
  if other_sd is not None and other_n is not None and other_n > 1:
    theirs = other_sd**2 / other_n
    variance = ours + theirs
    if variance > 0:
      freedom = variance**2 / (ours**2 / (len(x) - 1) + theirs**2 / (other_n - 1))
  return Comparison(name, difference, _two_sided(difference, variance, freedom))


def paired(a: Sequence[float], b: Sequence[float]) -> Comparison:
  """Student's paired t test of two values a seed.

  Args:
    a: [n] values.
    b: [n] values of the same seeds in the same order.

  Returns:
    The comparison of the mean of a - b with zero.

  Raises:
    InputError: a and b differ in length.

  Example:
    >>> from ibjax.report.statistics import paired
    >>> paired([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]).p
    1.0
  """
  if len(a) != len(b):
    raise InputError(f"a paired test needs equal lengths; got {len(a)} and {len(b)}.")
  found = against(np.subtract(a, b).tolist(), 0.0)
  return dataclasses.replace(found, test="paired t")


def _two_sided(difference: float, variance: float, freedom: float) -> float:
  if variance == 0:  # every seed gave the same number
    return 1.0 if difference == 0 else 0.0
  return float(2 * stats.t.sf(abs(difference) / math.sqrt(variance), freedom))


def correlation(a: Sequence[float], b: Sequence[float]) -> Interval:
  """Pearson's correlation over runs, with its 95% interval.

  Formula: tanh(atanh(r) ± 1.96 / sqrt(n - 3)) (Fisher).

  Args:
    a: [n] values.
    b: [n] values of the same runs.

  Returns:
    An `Interval` whose mean is r; ends are NaN below four runs, everything is NaN where one of
    the two does not vary.

  Raises:
    InputError: lengths that differ.

  Example:
    >>> from ibjax.report.statistics import correlation
    >>> found = correlation([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0])
    >>> round(found.mean, 3), found.low < found.mean < found.high
    (0.983, True)
  """
  if len(a) != len(b):
    raise InputError(f"{len(a)} and {len(b)} values; a correlation needs both of every run.")
  x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
  n = len(x)
  if n < 2 or not np.ptp(x) or not np.ptp(y):
    return Interval(math.nan, math.nan, math.nan, math.nan, n, "Fisher")
  r = float(np.corrcoef(x, y)[0, 1])
  if n < 4 or abs(r) >= 1:
    return Interval(r, math.nan, math.nan, math.nan, n, "Fisher")
  half = float(stats.norm.ppf(0.5 + LEVEL / 2)) / math.sqrt(n - 3)
  low, high = np.tanh([math.atanh(r) - half, math.atanh(r) + half])
  return Interval(r, float(low), float(high), math.nan, n, "Fisher")
