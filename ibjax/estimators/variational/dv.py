"""Donsker-Varadhan's representation, with its plain gradient.

Source: Donsker and Varadhan 1983; Belghazi et al. 2018, "MINE" (arXiv:1801.04062).
"""

from __future__ import annotations

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def dv(
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y) by the Donsker-Varadhan representation.

  Formula: mean_i f(x_i, y_i) - log mean_(i != j) exp f(x_i, y_j), f learned.

  Assumes independent rows. Use it where the information is a few nats at most: the variance of
  the second term grows like exp I. The critic makes it a lower bound; the logarithm of an average
  over finitely many pairs biases its value upwards by less, about variance / (2 k). Its gradient
  from small batches is biased; `mine` corrects that.

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
    >>> from ibjax.estimators.variational.dv import dv
    >>> estimator = dv(steps=2000)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'lower'

  Source: Belghazi et al. 2018, eq. 10, theorem 1.
  """
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=bounds.dv,
    check=bounds.dv,
    report=bounds.dv,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate)
  return learned("dv", method, options, hyper, bound="lower")


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
