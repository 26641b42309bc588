"""Mutual information by nearest neighbours, Kraskov-Stoegbauer-Grassberger (KSG).

Source: Kraskov, Stoegbauer, Grassberger 2004, "Estimating mutual information"
(arXiv:cond-mat/0305641).
"""

from __future__ import annotations

import numpy as np
from scipy.special import digamma as psi

from ibjax.core import checks
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.marginals import TRANSFORMS, rescale
from ibjax.estimators.base.neighbours import (
  BLOCK_SIZE,
  check_search,
  count_within,
  digamma,
  nearest,
  stack,
)


def ksg(
  k: int = 3,
  variant: int = 1,
  transform: str = "standardize",
  search: str = "auto",
  block_size: int = BLOCK_SIZE,
) -> Estimator:
  """Estimates I(X;Y) of continuous variables from k-th neighbour distances in the max norm.

  Formula: variant 1: psi(k) + psi(n) - mean_i[psi(n_x,i + 1) + psi(n_y,i + 1)], where n_x,i counts
  the other rows whose x is strictly nearer than the k-th neighbour of (x_i, y_i). Variant 2:
  psi(k) - 1/k + psi(n) - mean_i[psi(n_x,i) + psi(n_y,i)], where n_x,i counts the other rows whose
  x is at most as far as the farthest x among the k neighbours.

  Assumes independent rows of a joint density that is nearly uniform within k neighbours. Use it
  for up to about 5 columns in all and information below about 3 nats. Biased towards zero when
  columns are many (at 25+25 columns next to nothing is found) or the dependence is strong: then
  neighbours are too far away. A small k has less bias and more variance; variant 2 has the larger
  bias in many dimensions. The estimate depends on the relative scale of the columns: by default
  each is standardised; with transform="ranks" it is replaced by the normal scores of its ranks,
  which makes the estimate invariant to increasing maps of each column and helps with heavy tails.
  With duplicate rows it is not meaningful, and warns. The interval is one of noise alone: where
  the bias is large it does not cover the truth.

  Args:
    k: number of neighbours.
    variant: 1 or 2, the paper's I^(1) or I^(2).
    transform: "standardize", "ranks" or "none"; of each column.
    search: "tree", "tiles" (which `jax.jit` can trace), or "auto".
    block_size: root of the number of pairs held at once by tiles.

  Returns:
    An `Estimator` of x [n, d], y [n, e]; local values, interval by subsampling.

  Raises:
    InputError: an option out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.neighbours.ksg import ksg
    >>> x, e = np.random.default_rng(0).normal(size=(2, 2000))
    >>> bool(abs(ksg()(x, 0.8 * x + 0.6 * e).nats - 0.511) < 0.1)
    True

  Source: Kraskov et al. 2004 (arXiv:cond-mat/0305641), eqs. 8 and 9.
  """
  check_search(search, k, block_size)
  checks.one_of("variant", str(variant), ("1", "2"))
  checks.one_of("transform", transform, TRANSFORMS)

  def value(x, y, z=None, key=None):
    x, y = rescale(x, transform), rescale(y, transform)
    distance, index = nearest(stack(x, y), k, search=search, block_size=block_size)
    if variant == 1:
      reach_x = reach_y = distance[:, -1]
      offset, constant = 1, psi(k) + psi(len(x))
    else:
      reach_x, reach_y = (abs(a[index] - a[:, None]).max(axis=(1, 2)) for a in (x, y))
      offset, constant = 0, psi(k) - 1 / k + psi(len(x))
    n_x, n_y = (
      count_within(a, reach, strict=variant == 1, search=search, block_size=block_size)
      for a, reach in ((x, reach_x), (y, reach_y))
    )
    local = constant - digamma(n_x + offset) - digamma(n_y + offset)
    return Value(local.mean(), local=local)

  return Estimator(
    name="ksg",
    value=value,
    interval="subsampling",
    invariances=("rows", "swap", "translation")
    + (("scale",) if transform != "none" else ())
    + (("monotone",) if transform == "ranks" else ()),
    jittable=search == "tiles",
    min_n=k + 1,
  )


def _square():
  return dict(x=np.array([0.0, 1.0, 3.0, 7.0]), y=np.array([0.0, 1.0, 3.0, 7.0]))


CASES = (
  Case(
    name="four points on a line, by tiles",
    hyper=dict(k=1, search="tiles"),
    inputs=_square,
    expected=dict(nats=psi(1) + psi(4) - 2 * psi(1)),
    source="by hand: the neighbour is the nearest in x and in y, so both counts are 0 everywhere",
  ),
  Case(
    name="the same by tree",
    hyper=dict(k=1, search="tree"),
    inputs=_square,
    expected=dict(nats=psi(4) - psi(1)),
    source="by hand: standardising changes no order here",
  ),
  Case(
    name="four points on a line, variant 2",
    hyper=dict(k=1, variant=2),
    inputs=_square,
    expected=dict(nats=psi(4) - psi(1) - 1.0),
    source="by hand: within the neighbour's distance lies the neighbour alone",
  ),
)

TRUTHS = (
  Truth("bmi:1v1-normal-0.75", 2000, 0.06),
  Truth("bmi:1v1-additive-0.75", 2000, 0.05),
  Truth("bmi:swissroll_x-normal_cdf-1v1-normal-0.75", 2000, 0.06),
  Truth("bmi:1v1-bimodal-0.75", 2000, 0.06, dict(variant=2)),
  Truth("bmi:asinh-student-identity-1-1-1", 2000, 0.06, dict(transform="ranks")),
  Truth("bmi:multinormal-dense-2-2-0.5", 2000, 0.06),
)

COVERAGE = tuple(
  Truth(task, 1000, 0.15)
  for task in (
    "bmi:1v1-normal-0.75",
    "bmi:1v1-bimodal-0.75",
    "bmi:wiggly-1v1-normal-0.75",
    "bmi:normal_cdf-1v1-normal-0.75",
    "bmi:half_cube-1v1-normal-0.75",
    "bmi:swissroll_x-normal_cdf-1v1-normal-0.75",
    "bmi:asinh-student-identity-1-1-1",
    "bmi:multinormal-dense-2-2-0.5",
    "gaussian:d=1,rho=0.0",
    "gaussian:d=1,rho=0.3",
    "gaussian:d=1,rho=0.9",
    "gaussian:d=2,rho=0.3",
  )
)
