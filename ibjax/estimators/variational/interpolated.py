"""The continuum between TUBA and InfoNCE.

Source: Poole et al. 2019, "On variational bounds of mutual information" (arXiv:1905.06922).
"""

from __future__ import annotations

import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def interpolated(
  alpha: Scalar = 0.5,
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y) between TUBA's variance and InfoNCE's bias.

  Formula: 1 + E[f(x, y) - log m(y)] - E[exp f(x', y) / m(y)], m = alpha mean_x'' exp f(x'', y) +
  (1 - alpha) a(y), see `bounds.interpolated`.

  Assumes independent rows. Use it where I exceeds InfoNCE's log k and `nwj` is too noisy: it can
  reach about log(k / alpha). Biased downwards by the critic and, the more the larger alpha, by the
  inner average.

  Args:
    alpha: in [0, 1], 0 is TUBA, 1 InfoNCE with k - 1 rows. May be traced.
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
      or transform, an alpha outside [0, 1].

  Example:
    >>> from ibjax.estimators.variational.interpolated import interpolated
    >>> estimator = interpolated(alpha=0.1)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'lower'

  Source: Poole et al. 2019, section 2.3, the bound I_alpha.
  """
  checks.between("alpha", alpha, 0.0, 1.0)
  method = Method(
    model=critic_model(critic, tuple(sizes), "y"),
    objective=bounds.interpolated,
    check=bounds.interpolated,
    report=bounds.interpolated,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate, alpha=alpha)
  return learned("interpolated", method, options, hyper, bound="lower")


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
