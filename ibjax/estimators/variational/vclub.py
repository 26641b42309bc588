"""vCLUB: the contrastive log-ratio bound with a learned conditional.

Source: Cheng et al. 2020, "CLUB: a contrastive log-ratio upper bound of mutual information"
(arXiv:2006.12013).
"""

from __future__ import annotations

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.conditional import gaussian, pairs_method
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Options, learned


def vclub(
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "standardize",
  k: int = 1024,
) -> Estimator:
  """Estimates CLUB with a Gaussian q(y | x) fitted by likelihood: an upper bound if q is good.

  Formula: mean_i log q(y_i | x_i) - mean_(i != j) log q(y_j | x_i).

  It is an upper bound on I(X;Y) where KL(p(x, y) || q(y | x) p(x)) <= KL(p(x) p(y) || q(y | x)
  p(x)), which no sample can show; a poor q gives a value below I. Even with the true conditional it
  is loose: d rho^2 / (1 - rho^2) for d pairs of Gaussians, against -d/2 log(1 - rho^2). Use it as
  a penalty, not as a measurement. Its q is of `base.conditional.gaussian`; q is fitted to
  the training rows, and the value is of the test rows.

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
    >>> import numpy as np
    >>> from ibjax.estimators.variational.vclub import vclub
    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> found = vclub(sizes=(4,), steps=20)(x, -x)
    >>> found.nats > 0.0
    True

  Source: Cheng et al. 2020, eq. 11 (memory of the number); theorem 3.2 for the true conditional.
  """
  method = pairs_method(gaussian(tuple(sizes)), bounds.club)
  options = Options(steps, batch_size, transform, k)
  return learned(
    "vclub", method, options, dict(learning_rate=learning_rate), bound="upper", y="real"
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
TRUTHS = (
  # 0.5625 with the true conditional, where I is 0.2231.
  Truth("gaussian:d=1,rho=0.6", 2000, 0.5, dict(sizes=(4,), steps=200)),
)
