"""InfoNCE, the contrastive lower bound of small variance.

Source: van den Oord et al. 2018, "Representation learning with contrastive predictive coding"
(arXiv:1807.03748).
"""

from __future__ import annotations

import math

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def info_nce(
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y) by telling each y_i from the k - 1 others of its block.

  Formula: log k + mean_i [f(x_i, y_i) - log sum_j exp f(x_i, y_j)], f learned.

  Assumes independent rows. Use it first of the learned bounds: it is the steadiest. Biased
  downwards, by what the critic lacks and by the ceiling log k, where k is the number of test rows
  that meet in a block (diagnostics "k" and "ceiling_nats"); a value near it says so in a warning.
  A larger `k` lifts the ceiling at no cost in training.

  Args:
    critic: "joint", "separable", "quadratic" or "residual", see `networks.make_critic`.
    sizes: widths of the critic's hidden layers.
    learning_rate: Adam's at the start, > 0; it falls to zero along a cosine. May be traced.
    steps: the most updates; it looks 20 times at the validation rows and stops after 8 looks
      without a better one.
    batch_size: rows of a training batch.
    transform: "ranks" (normal scores, for heavy tails), "standardize" or "none"; by what the
      training rows say.
    k: rows of a block of validation or test rows, all pairs of which are scored.

  Returns:
    An `Estimator` of a lower bound on I(X;Y); diagnostics: steps, best_step, train_rows,
    test_rows, k, ceiling_nats (log k) and validation_nats.

  Raises:
    InputError: counts below 1, k below 2, a learning rate that is not positive, an unknown critic
      or transform.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.variational.info_nce import info_nce
    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> found = info_nce(critic="quadratic", steps=100)(x, -x)
    >>> found.nats > 0.1
    True

  Source: van den Oord et al. 2018, eq. 4 and section 2.3; Poole et al. 2019 (arXiv:1905.06922), the
    bound I_NCE.
  """
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=bounds.info_nce,
    check=bounds.info_nce,
    report=bounds.info_nce,
    limit=True,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate)
  return learned("info_nce", method, options, hyper, bound="lower")


def _constant():
  x = np.ones((40, 1))
  return dict(x=x, y=np.linspace(-1.0, 1.0, 40)[:, None])


CASES = (
  Case(
    name="a constant tells nothing",
    hyper=dict(critic="quadratic", steps=20),
    inputs=_constant,
    expected=dict(nats=0.0),
    source="limit: I = 0, and a critic that starts at zero never validates better",
  ),
  Case(
    name="the ceiling is log k",
    hyper=dict(critic="quadratic", steps=20, k=4),
    inputs=_constant,
    expected=dict(ceiling_nats=math.log(3), k=3),
    source="closed form: 6 test rows make 2 blocks of 3, the fewest of at most 4 that are equal",
  ),
)
TRUTHS = (
  Truth("gaussian:d=1,rho=0.6", 2000, 0.08, dict(critic="quadratic", steps=200)),
  Truth("bmi:1v1-additive-0.75", 2000, 0.1, dict(critic="joint", steps=300)),
)
