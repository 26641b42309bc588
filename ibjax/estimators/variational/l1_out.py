"""The leave-one-out upper bound with a learned conditional.

Source: Poole et al. 2019, "On variational bounds of mutual information" (arXiv:1905.06922).
"""

from __future__ import annotations

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.conditional import gaussian, pairs_method
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Options, learned


def l1_out(
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "standardize",
  k: int = 1024,
) -> Estimator:
  """Estimates the leave-one-out bound with a Gaussian q(y | x) fitted by likelihood.

  Formula: mean_i [log q(y_i | x_i) - log mean_(j != i) q(y_i | x_j)].

  With q = p(y | x) it is an upper bound on I(X;Y), and close to it for large k: the mixture over
  the other rows stands for p(y). With a learned q it is none in general: both terms then err,
  and their errors partly cancel. Use it beside `info_nce` as the upper side of a sandwich where
  the conditional is known or nearly Gaussian. Its q is of `base.conditional.gaussian`.

  Args:
    sizes: widths of the hidden layers of q.
    learning_rate: Adam's at the start, > 0; it falls to zero along a cosine. May be traced.
    steps: the most updates; it looks 20 times at the validation rows and stops after 8 looks
      without a better one.
    batch_size: rows of a training batch.
    transform: "standardize", "ranks" or "none"; by what the training rows say.
    k: rows of a block of validation or test rows, all pairs of which are scored.

  Returns:
    An `Estimator` of an upper bound on I(X;Y) (given a good q); diagnostics: steps, best_step,
    train_rows, test_rows, k and validation_nats (the mean log likelihood).

  Raises:
    InputError: counts below 1, k below 2, a learning rate that is not positive, an unknown
      transform.

  Example:
    >>> from ibjax.estimators.variational.l1_out import l1_out
    >>> estimator = l1_out(steps=2000)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'upper'

  Source: Poole et al. 2019, section 2.1, the leave-one-out bound.
  """
  method = pairs_method(gaussian(tuple(sizes)), bounds.l1_out)
  options = Options(steps, batch_size, transform, k)
  return learned(
    "l1_out", method, options, dict(learning_rate=learning_rate), bound="upper", y="real"
  )


def _constant():
  x = np.ones((40, 1))
  return dict(x=x, y=np.linspace(-1.0, 1.0, 40)[:, None])


CASES = (
  Case(
    name="a constant tells nothing",
    hyper=dict(sizes=(4,), steps=20),
    inputs=_constant,
    expected=dict(nats=0.0),
    source="closed form: q(y_j | x_i) is the same for every i, so both terms are equal",
  ),
)
TRUTHS = (Truth("gaussian:d=2,rho=0.6", 2000, 0.15, dict(sizes=(4,), steps=200)),)
