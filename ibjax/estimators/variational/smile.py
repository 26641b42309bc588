"""SMILE: a clipped Donsker-Varadhan value of a critic trained as a classifier.

Source: Song and Ermon 2020, "Understanding the limitations of variational mutual information
estimators" (arXiv:1910.06222).
"""

from __future__ import annotations

import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def smile(
  tau: Scalar = 5.0,
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates I(X;Y) with the density ratio clipped where it is averaged; no bound.

  Formula: trained as `jensen_shannon`; reported: mean_i f(x_i, y_i) -
  log mean_(i != j) clip(exp f(x_i, y_j), exp -tau, exp tau).

  Assumes independent rows. Use it for several nats, where `nwj` and `dv` are too noisy. Clipping
  makes the second term too small when ratios above exp tau matter, which biases the value upwards,
  against the critic's bias downwards: it is neither bound.

  Args:
    tau: > 0; infinity reports `dv`. May be traced.
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
    An `Estimator` of a quantity that is neither bound; diagnostics: steps, best_step, train_rows,
    test_rows, k and validation_nats.

  Raises:
    InputError: counts below 1, k below 2, a learning rate that is not positive, an unknown critic
      or transform, a tau that is not positive.

  Example:
    >>> from ibjax.estimators.variational.smile import smile
    >>> estimator = smile(tau=1.0)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'neither'

  Source: Song and Ermon 2020, the estimator I_SMILE; training as in the authors' code.
  """
  checks.at_least("tau", tau, 0.0, strict=True)
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=_objective,
    check=_objective,
    report=bounds.smile,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate, tau=tau)
  return learned("smile", method, options, hyper, bound="neither")


def _objective(scores, *, tau):
  return bounds.jensen_shannon(scores)


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
