"""MINE: the Donsker-Varadhan bound with the gradient corrected by a moving average.

Source: Belghazi et al. 2018, "Mutual information neural estimation" (arXiv:1801.04062).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def mine(
  decay: Scalar = 0.9,
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y): Donsker-Varadhan with MINE's gradient.

  Formula: mean_i f(x_i, y_i) - log mean_(i != j) exp f(x_i, y_j); in the gradient of the logarithm
  the mean of the batch is replaced by a moving average M <- decay M + (1 - decay) mean.

  Assumes independent rows. As `dv`; the moving average removes most of the bias of the gradient
  of small batches. Early stopping and the report use the bound itself, not the moving average.

  Args:
    decay: of the moving average, in [0, 1); 0 is `dv`. May be traced.
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
      or transform, a decay outside [0, 1).

  Example:
    >>> from ibjax.estimators.variational.mine import mine
    >>> estimator = mine(decay=0.99)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'lower'

  Source: Belghazi et al. 2018, algorithm 1 and eq. 12.
  """
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=_objective,
    check=_report,
    report=_report,
    state=(0.0, 0.0),  # the log of the moving average, and how many batches it has seen
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate, decay=decay)
  return learned("mine", method, options, hyper, bound="lower")


def _objective(scores, *, state, decay):
  log_average, seen = state
  joint = jnp.mean(jnp.diagonal(scores))
  log_mean = joint - bounds.dv(scores)
  now = jax.lax.stop_gradient(log_mean)
  moved = jnp.logaddexp(jnp.log(decay) + log_average, jnp.log1p(-decay) + now)
  log_average = jnp.where(seen > 0, moved, now)
  # The value is the bound's; the gradient of its second term is that of mean / average.
  ratio = jnp.exp(log_mean - log_average)
  value = joint - ratio + jax.lax.stop_gradient(ratio - log_mean)
  return value, (log_average, seen + 1.0)


def _report(scores, *, decay):
  return bounds.dv(scores)


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
