"""A critic trained by the Jensen-Shannon bound, reported by NWJ.

Source: Poole et al. 2019 (arXiv:1905.06922); Nowozin et al. 2016, "f-GAN" (arXiv:1606.00709).
"""

from __future__ import annotations

import numpy as np

from ibjax.core.estimate import Truth
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bounds
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Options, critic_model, learned


def jensen_shannon(
  critic: str = "residual",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  transform: str = "ranks",
  k: int = 1024,
) -> Estimator:
  """Estimates a lower bound on I(X;Y) with a critic trained steadily as a classifier.

  Formula: trained by -mean_i softplus(-f(x_i, y_i)) - mean_(i != j) softplus(f(x_i, y_j));
  reported: 1 + mean_i f(x_i, y_i) - mean_(i != j) exp f(x_i, y_j), NWJ of f + 1.

  Assumes independent rows. The trained critic is log p(x, y) / (p(x) p(y)), so the report needs
  the 1: without it the value is I - 1/e at the optimum. Training has bounded gradients; the report
  keeps NWJ's variance, like exp I.

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
    >>> from ibjax.estimators.variational.jensen_shannon import jensen_shannon
    >>> estimator = jensen_shannon(steps=2000)  # estimator(x, y, key=key) gives an Estimate
    >>> estimator.bound
    'lower'

  Source: Poole et al. 2019, section 2.2, the bound I_JS.
  """
  method = Method(
    model=critic_model(critic, tuple(sizes)),
    objective=bounds.jensen_shannon,
    check=bounds.jensen_shannon,
    report=_report,
  )
  options = Options(steps, batch_size, transform, k)
  hyper = dict(learning_rate=learning_rate)
  return learned("jensen_shannon", method, options, hyper, bound="lower")


def _report(scores):
  return bounds.nwj(scores + 1.0)


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
