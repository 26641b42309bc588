"""Mutual information of a Gaussian copula: ranks to normal scores, then Gaussians.

Source: Ince et al. 2017, "A statistical framework for neuroimaging data analysis based on mutual
information estimated via a Gaussian copula" (Human Brain Mapping 38, 1541-1573).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma as psi
from scipy.special import ndtri

from ibjax.core.estimate import Truth
from ibjax.core.types import Case
from ibjax.estimators.base.canonical import gaussian_information
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.marginals import rescale


def gaussian_copula() -> Estimator:
  """Estimates I(X;Y) of variables whose columns are increasing functions of Gaussians.

  Formula: each column becomes Phi^-1((rank - 1/2)/n), mean ranks where values tie; then
  -1/2 sum_i log(1 - r_i^2) - b of `gaussian`.

  Assumes that the columns of (x, y) together have a Gaussian copula; the distribution of each
  column by itself is free. Use it for skewed or heavy-tailed columns with a monotone dependence.
  For other copulas it converges to the information of the Gaussian with the same rank
  correlations, mostly too low: it does not see a dependence that is not monotone. The interval
  allows for noise alone.

  Returns:
    An `Estimator` of x [n, d], y [n, e], d + e <= n - 2; with its own standard error and the
    diagnostic canonical_correlations.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.parametric.gaussian_copula import gaussian_copula
    >>> x, e = np.random.default_rng(0).normal(size=(2, 5000))
    >>> bool(abs(gaussian_copula()(np.exp(3 * x), 0.8 * x + 0.6 * e).nats - 0.511) < 0.05)
    True

  Source: Ince et al. 2017 (doi:10.1002/hbm.23471), sections 2.3 and 2.4.
  """

  def value(x, y, z=None, key=None):
    return gaussian_information("gaussian_copula", rescale(x, "ranks"), rescale(y, "ranks"))

  return Estimator(
    name="gaussian_copula",
    value=value,
    interval="own",
    invariances=("rows", "swap", "translation", "scale", "monotone"),
    jittable=True,
    min_n=4,
  )


A, B = ndtri(0.625), ndtri(0.875)
CASES = (
  Case(
    name="four points whose scores do not correlate",
    hyper=dict(),
    inputs=lambda: dict(x=np.array([0.0, 1.0, 10.0, 99.0]), y=np.array([3.0, 8.0, 1.0, 7.0])),
    expected=dict(nats=-0.5 * (psi(1.5) - psi(1.0))),
    source="closed form: scores -b, -a, a, b and -a, b, -b, a are orthogonal",
  ),
  Case(
    name="the middle two of four points exchanged",
    hyper=dict(),
    inputs=lambda: dict(x=np.array([0.0, 1.0, 10.0, 99.0]), y=np.array([1.0, 7.0, 3.0, 8.0])),
    expected=dict(
      nats=-0.5 * math.log(1 - ((B**2 - A**2) / (A**2 + B**2)) ** 2) - 0.5 * (psi(1.5) - psi(1.0))
    ),
    source="closed form: the correlation of the scores is (b^2 - a^2)/(a^2 + b^2)",
  ),
)

TRUTHS = (
  Truth("bmi:1v1-normal-0.75", 2000, 0.05),
  Truth("bmi:half_cube-1v1-normal-0.75", 2000, 0.05),
  Truth("bmi:normal_cdf-1v1-normal-0.75", 2000, 0.05),
  Truth("bmi:1v1-bimodal-0.75", 2000, 0.05),
  Truth("bmi:half_cube-multinormal-sparse-5-5-2-2.0", 2000, 0.06),
  Truth("bmi:normal_cdf-multinormal-sparse-25-25-2-2.0", 2000, 0.08),
)

COVERAGE = tuple(
  Truth(task, n, 0.15)
  for task, n in (
    ("bmi:1v1-normal-0.75", 500),
    ("bmi:half_cube-1v1-normal-0.75", 500),
    ("bmi:normal_cdf-1v1-normal-0.75", 500),
    ("bmi:1v1-bimodal-0.75", 500),
    ("gaussian:d=1,rho=-0.5", 500),
    ("gaussian:d=1,rho=0.3,then=half_cube", 500),
    ("gaussian:d=1,rho=0.9,then=normal_cdf", 500),
    ("gaussian:d=3,rho=0.5,then=asinh", 500),
    ("gaussian:d=3,rho=0.4", 500),
    ("bmi:half_cube-multinormal-sparse-3-3-2-2.0", 500),
    ("bmi:normal_cdf-multinormal-sparse-3-3-2-2.0", 500),
    ("bmi:half_cube-multinormal-sparse-5-5-2-2.0", 500),
  )
)
