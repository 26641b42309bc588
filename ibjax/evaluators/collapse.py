"""Which dimensions of a Gaussian code a model uses: active units and posterior collapse.

Source: Burda, Grosse and Salakhutdinov 2016, "Importance weighted autoencoders"
(arXiv:1509.00519); Lucas et al. 2019, "Don't blame the ELBO!" (arXiv:1911.02469).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained


def collapse(
  threshold: float = 0.01,
  epsilon: float = 1e-2,
  delta: float = 0.01,
  split: str = "test",
  examples: int = 10_000,
) -> Callable[[Trained], dict[str, float]]:
  """Counts the dimensions of a code that say something of the input, and those that do not.

  Formula: a unit is active where Var_x(mean_d(x)) > threshold; it has collapsed where
  P_x(KL(q(z_d|x) || N(0, 1)) <= epsilon) >= 1 - delta.

  Args:
    threshold: of the variance of an active unit's mean, >= 0.
    epsilon: nats, >= 0, below which an example's posterior is the prior. Training by samples
      leaves noise of a few thousandths; where losses are exact, 1e-4 is used.
    delta: part of the examples that a collapsed unit may miss, in [0, 1).
    split: whose inputs are looked at.
    examples: the first so many; 0 takes all.

  Returns:
    `assess(trained) -> {"active_units", "collapsed_units", "collapsed_frac", "kl_nats"}`, the last
    the sum of all units' mean KL to a standard normal prior.

  Raises:
    InputError: a code that is not Gaussian, a setting out of range.

  Example:
    >>> from ibjax.evaluators.collapse import collapse
    >>> assess = collapse(epsilon=1e-4)

  Source: Burda et al. 2016 (arXiv:1509.00519), section 5.2 (A_u > 0.01); Lucas et al. 2019
  (arXiv:1911.02469), section 5.3 ((epsilon, delta)-collapse).
  """
  checks.at_least("threshold", threshold, 0.0)
  checks.at_least("epsilon", epsilon, 0.0)
  checks.between("delta", delta, 0.0, 1.0, open_high=True)

  def assess(trained: Trained) -> dict[str, float]:
    found = trained.forward(trained.data("", split)["x"][: examples or None])
    if not {"mean", "log_scale"} <= found.keys():
      raise InputError(
        "collapse looks at the mean and scale of a Gaussian code; this bottleneck gives "
        f"{', '.join(sorted(found))}. Use 'ibjax.bottlenecks.gaussian:gaussian', or leave it out "
        "of config.assess."
      )
    mean = np.asarray(found["mean"], np.float64)
    log_scale = np.asarray(found["log_scale"], np.float64)
    kl = 0.5 * (mean**2 + np.expm1(2.0 * log_scale)) - log_scale
    collapsed = np.mean(kl <= epsilon, axis=0) >= 1.0 - delta
    return {
      "active_units": float(np.sum(np.var(mean, axis=0) > threshold)),
      "collapsed_units": float(np.sum(collapsed)),
      "collapsed_frac": float(np.mean(collapsed)),
      "kl_nats": float(np.sum(np.mean(kl, axis=0))),
    }

  return assess
