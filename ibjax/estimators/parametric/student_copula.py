"""Student-t copula: dependence of correlation and of common scale, whatever the margins."""

from __future__ import annotations

from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.estimate import Note, Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base import elliptical
from ibjax.estimators.base.contract import Estimator


def student_copula(degrees_of_freedom: float | None = None) -> Estimator:
  """Makes the estimator that takes (X, Y) to have a Student-t copula, or a Gaussian one.

  Formula: u = (rank - 1/2) / n per column; q = T_nu^-1(u); scatter S and nu maximise the likelihood
  of the copula, S by the fixed point S = mean of (nu + d) / (nu + q' S^-1 q) q q' scaled to a
  correlation matrix. Then I = (1/2) ln(|S_x| |S_y| / |S|) + h(dx) + h(dy) - h(dx + dy), with
  h(d) = -ln Gamma((nu+d)/2) + ln Gamma(nu/2) + (d/2) ln(nu pi)
  + ((nu+d)/2) [psi((nu+d)/2) - psi(nu/2)], less the excess of the Gaussian plug-in. The Gaussian
  copula (nu infinite, where the last three terms are 0) is kept unless another nu raises the
  likelihood by more than (ln n)/2.

  Assumptions: some increasing functions of the columns make (X, Y) jointly Student-t (or normal).
  Use it for heavy tails and for variables that share a scale, as returns do; correlation need not
  be linear in the units measured. The margins need no assumption. Bias: small where the copula
  holds; where it does not, of either sign and not smaller with more samples: rings, spirals and
  thresholds are missed.

  Args:
    degrees_of_freedom: at least 1, inf for the Gaussian copula; fitted when None.

  Returns:
    An `Estimator`; diagnostics: "degrees_of_freedom" (inf for Gaussian).

  Raises:
    InputError: degrees of freedom below 1; when called with n not above dx + dy + 1.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.parametric.student_copula import student_copula
    >>> rng = np.random.default_rng(0)
    >>> scale = rng.chisquare(1, (5000, 1)) ** -0.5  # shared: a Cauchy pair without correlation
    >>> found = student_copula()(*(scale * rng.standard_normal((5000, 1)) for _ in range(2)))
    >>> abs(found.nats - 0.224171) < 0.02  # the exact value
    True

  Source: Demarta and McNeil 2005, "The t copula and related copulas", section 2 (the copula and its
  likelihood); Arellano-Valle et al. 2013 (entropies of the t distribution); the correction is the
  mean of the log determinant of a Wishart matrix.
  """
  tail = None
  if degrees_of_freedom is not None:
    checks.at_least("degrees_of_freedom", degrees_of_freedom, 1.0)
    tail = 1.0 / degrees_of_freedom  # 0 for inf

  def value(x, y, z, key):
    x, y = columns(x), columns(y)
    n, dx, dy = len(x), x.shape[1], y.shape[1]
    nothing: Any = 0.0
    if not dx or not dy:
      return Value(nothing, extra={"degrees_of_freedom": np.inf})
    check_rows(n, dx, dy)
    copula = elliptical.fit(elliptical.levels(np.hstack([x, y])), dx, tail)
    nats: Any = copula.nats - elliptical.excess(dx, dy, n)
    notes: tuple[Note, ...] = ()
    if tail is None and copula.tail == elliptical.MOST:
      notes = (
        Note(
          "tails_at_limit",
          "the tails are as heavy as the fit allows (1 degree of freedom); the copula may not be "
          "Student's, and more information may lie in the scale.",
        ),
      )
    degrees = 1.0 / copula.tail if copula.tail else np.inf
    return Value(nats, extra={"degrees_of_freedom": degrees}, notes=notes)

  return Estimator(
    name="student_copula",
    value=value,
    interval="none",
    no_interval=(
      "the error is that of the assumed copula, which the spread of the samples does not show"
    ),
    invariances=("translation", "scale", "monotone", "rows", "swap"),
    min_n=8,
  )


def columns(array: np.ndarray) -> np.ndarray:
  """Leaves out constant columns, which have no ranks and carry nothing.

  Args:
    array: [n, d].

  Returns:
    [n, k], k at most d.
  """
  return array[:, np.ptp(array, axis=0) > 0]


def check_rows(n: int, dx: int, dy: int) -> None:
  """Raises InputError unless the correlation matrix of x and y has full rank.

  Args:
    n: samples.
    dx: columns of x.
    dy: columns of y.

  Raises:
    InputError: too few samples.
  """
  if n <= dx + dy + 1:
    raise InputError(
      f"a copula of {dx} + {dy} columns needs more than {dx + dy + 1} samples, got {n}. Give more, "
      "or reduce the dimension."
    )


def _pair(n: int = 400, rho: float = 0.8):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((n, 1))
  return {"x": np.exp(x), "y": rho * x + (1 - rho**2) ** 0.5 * rng.standard_normal((n, 1))}


def _of_pair() -> float:
  """The Gaussian copula written out for one column each."""
  from scipy import special, stats

  given = _pair()
  n = len(given["x"])
  a, b = (special.ndtri((stats.rankdata(v[:, 0]) - 0.5) / n) for v in given.values())
  rho = np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
  correction = 0.5 * (special.digamma((n - 1) / 2) - special.digamma((n - 2) / 2))
  return float(-0.5 * np.log(1 - rho**2) - correction)


CASES = (
  Case(
    name="a Gaussian pair behind an exponential",
    source="correlation of normal scores, -ln(1 - rho^2)/2 less (psi((n-1)/2) - psi((n-2)/2))/2",
    hyper={},
    inputs=_pair,
    expected={"nats": _of_pair(), "degrees_of_freedom": np.inf},
    rtol=1e-6,
  ),
  Case(
    name="a constant column carries nothing",
    source="by definition",
    hyper={},
    inputs=lambda: {"x": np.ones((20, 1)), "y": np.arange(20.0)[:, None]},
    expected={"nats": 0.0},
    rtol=1e-6,
  ),
  Case(
    name="without degrees of freedom to fit, one pair",
    source="as the first case",
    hyper={"degrees_of_freedom": np.inf},
    inputs=_pair,
    expected={"nats": _of_pair()},
    rtol=1e-6,
  ),
)
TRUTHS = (
  Truth("bmi:1v1-normal-0.75", 2000, 0.05),
  Truth("bmi:half_cube-multinormal-sparse-5-5-2-2.0", 2000, 0.08),
  Truth("bmi:multinormal-dense-25-25-0.5", 2000, 0.1),
  Truth("bmi:student-identity-1-1-1", 2000, 0.03),
  Truth("bmi:asinh-student-identity-5-5-2", 2000, 0.04),
)
