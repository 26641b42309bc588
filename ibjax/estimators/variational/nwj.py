"""Nguyen-Wainwright-Jordan's bound, unbiased in any batch.

Source: Nguyen, Wainwright and Jordan 2010 (arXiv:0809.0853), also known as f-GAN KL and MINE-f.
"""

from __future__ import annotations

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def nwj(
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y), unbiased given the critic.

  Formula: mean_i f(x_i, y_i) - mean_(i != j) exp(f(x_i, y_j) - 1), f = 1 + a learned critic.

  Assumes independent rows. Use it where a bound must hold in expectation at any batch size.
  Biased downwards by what the critic lacks; its variance grows like exp I, so its value is noisy
  above a few nats.

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
    test_rows, k and validation_nats.

  Raises:
    InputError: counts below 1, k below 2, a learning rate that is not positive, an unknown critic
      or transform.

  Example:
    >>> from ibjax.estimators.variational.nwj import nwj
    >>> estimator = nwj(steps=2000)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'lower'

  Source: Nguyen et al. 2010, Poole et al. 2019 (arXiv:1905.06922), the
    bound I_NWJ.
  """
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=_bound,
    check=_bound,
    report=_bound,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate)
  return learned("nwj", method, options, hyper, bound="lower")


def _bound(scores):
  return bounds.nwj(scores + 1.0)  # the critic itself learns log p(x, y) / (p(x) p(y))


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
)
TRUTHS = (Truth("gaussian:d=1,rho=0.6", 2000, 0.08, dict(critic="quadratic", steps=200)),)
