"""The Hilbert-Schmidt independence criterion (HSIC).

Source: Gretton et al. 2005, "Measuring statistical dependence with Hilbert-Schmidt norms".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ibjax.core.estimate import Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import gram
from ibjax.estimators.base.contract import Estimator


def hsic(
  sigma_x: Scalar | None = None,
  sigma_y: Scalar | None = None,
  kernel: str | gram.Compare = "gaussian",
  unbiased: bool = True,
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Measures dependence by the covariance of two kernels' features.

  Formula: biased: tr(K H L H) / (n - 1)^2, H = I - 11'/n. Unbiased, with the diagonals of K and L
  set to zero: [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2)] / (n (n-3)). Gaussian kernel:
  exp(-||a - b||^2 / (2 sigma^2)); labels have the kernel 1 where equal, else 0.

  It has no unit: `nats` holds the criterion itself, which is zero at independence (and only there,
  for Gaussian and Laplacian kernels). Use it to compare the dependence of layers at fixed widths.
  Bias: the biased form is too high by about 1/n; the unbiased one may be below zero. The value
  depends on the widths: with the median rule it does not change with the scale of x or y.

  Computed from centred entries in two passes over tiles of pairs, so that nothing cancels.

  Args:
    sigma_x: width of the kernel of x, a standard deviation, > 0; None takes the median distance
      of up to 512 rows; may be traced.
    sigma_y: the same for y; labels have none.
    kernel: "gaussian", "laplacian" (exp(-||a - b|| / sigma)), "linear", or a function of two
      blocks [p, d], [q, d] that gives [p, q]: it must be symmetric and positive semidefinite.
    unbiased: which form.
    block_size: rows of a tile of pairs; memory is a few times its square.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x and y, each [n, d] numbers or [n] labels; diagnostics "sigma_x", "sigma_y".

  Raises:
    InputError: a width that is not positive, an unknown kernel; when called, a given kernel that
      is not symmetric or not positive semidefinite.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.hsic import hsic
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500))
    >>> hsic()(x, x).nats > 0.05 > abs(hsic()(x, noise).nats) * 10
    True

  Source: Gretton et al. 2005, eq. 9 (biased); Song et al. 2012, "Feature selection via dependence
  maximization", eq. 5 (unbiased).
  """
  gram.check_widths(sigma_x, sigma_y)

  def value(x, y, z, key) -> Value:
    (cross, _, _), widths = gram.centred_products(
      x, y, kernel, sigma_x, sigma_y, unbiased=unbiased, block_size=block_size, devices=devices
    )
    return Value(cross, extra=widths)

  return Estimator(
    name="hsic",
    value=value,
    x="any",
    y="any",
    quantity="dependence",
    no_interval=gram.NO_INTERVAL,
    invariances=gram.invariances(kernel, sigma_x, sigma_y),
    jittable=True,
    min_n=4,
  )


def _line() -> dict[str, Any]:
  return dict(x=np.array([0.0, 1.0, 3.0, 4.0]), y=np.array([0.0, 2.0, 1.0, 5.0]))


def _by_definition(unbiased: bool, sigma: float) -> float:
  """From dense matrices and traces, in float64."""
  x, y = _line().values()
  k, l = (np.exp(-((a[:, None] - a) ** 2) / (2 * sigma**2)) for a in (x, y))  # noqa: E741
  n, ones = 4, np.ones(4)
  if not unbiased:
    h = np.eye(n) - 1 / n
    return float(np.trace(k @ h @ l @ h) / (n - 1) ** 2)
  k, l = k - np.eye(n), l - np.eye(n)  # noqa: E741
  together = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2))
  return float((together - 2 * ones @ k @ l @ ones / (n - 2)) / (n * (n - 3)))


CASES = (
  Case(
    name="biased, by the definition",
    hyper=dict(sigma_x=1.5, sigma_y=1.5, unbiased=False),
    inputs=_line,
    expected=dict(nats=_by_definition(False, 1.5)),
    source="independent computation with dense matrices",
  ),
  Case(
    name="unbiased, by the definition",
    hyper=dict(sigma_x=1.5, sigma_y=1.5),
    inputs=_line,
    expected=dict(nats=_by_definition(True, 1.5)),
    source="independent computation with dense matrices",
  ),
  Case(
    name="linear kernel: the square of the covariance",
    hyper=dict(kernel="linear", unbiased=False),
    inputs=_line,
    expected=dict(nats=float(np.cov(*_line().values())[0, 1] ** 2)),
    source="closed form",
  ),
  Case(
    name="two balanced classes and themselves",
    hyper=dict(unbiased=False),
    inputs=lambda: dict(x=np.array([0, 0, 1, 1]), y=np.array([5, 5, 7, 7])),
    expected=dict(nats=16 / 4 / 9),
    source="closed form: the centred entries are 1/2 and -1/2, so their squares sum to 4",
  ),
)
TRUTHS = ()
