"""How much of the input a code keeps, by a measure that is finite for deterministic codes too.

Source: Yu et al. 2024, "Cauchy-Schwarz divergence information bottleneck for regression"
(arXiv:2404.17951).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.types import Trained
from ibjax.estimators.kernel.cauchy_schwarz import cauchy_schwarz


def compression(
  sigma_x: float | None = None,
  sigma_z: float | None = None,
  split: str = "test",
  examples: int = 1000,
) -> Callable[[Trained], dict[str, float]]:
  """Measures the dependence between input and code by Cauchy-Schwarz quadratic information.

  Formula: ratio = I(x;z) / sqrt(I(x;x) I(z;z)), with I the Cauchy-Schwarz divergence between a
  joint density and the product of its margins (see `ibjax.estimators.kernel.cauchy_schwarz`). The
  ratio is near 0 for a code that keeps nothing and 1 for z = x (with equal widths).

  Use it when stochastic and deterministic codes are to be laid on one axis: I(X;Z) in nats is
  infinite for a deterministic real-valued code. It is no Shannon information, it depends on the
  widths, and with the widths by the median distance it does not see the scale of the code. Where
  the channel adds Gaussian noise, a code is drawn by the run's seed, so the noise counts.

  Args:
    sigma_x: width of the kernel of the inputs; None takes the median distance.
    sigma_z: width of the kernel of the codes; None likewise.
    split: the split that is measured.
    examples: as many of it, the first ones; 0 is all.

  Returns:
    `assess(trained)` -> {"qmi_ratio", "qmi_nats"}.

  Raises:
    InputError: a width that is not positive, a negative number of examples.

  Example:
    >>> from ibjax.evaluators.compression import compression
    >>> assess = compression(examples=500)

  Source: Yu et al. 2024 (arXiv:2404.17951), its compression term, and the ratio of its code.
  """
  checks.at_least("examples", examples, 0)
  # One that is made here checks the widths; made again below for every pair of arrays.
  cauchy_schwarz(sigma_x, sigma_z)

  def assess(trained: Trained) -> dict[str, float]:
    x = trained.data("", split)["x"][: examples or None]
    seen = trained.forward(x)
    z = np.asarray(seen["code"])
    if "log_scale" in seen:
      noise = np.random.default_rng([trained.seed, 1]).standard_normal(z.shape)
      z = z + np.exp(seen["log_scale"]) * noise
    x = x.reshape(len(x), -1)

    def nats(first, sigma_first, second, sigma_second):
      # All on one device: the answer is small, and must not depend on how many there are.
      measure = cauchy_schwarz(sigma_first, sigma_second, devices=1)
      return float(measure.value(first, second, None, None).nats)

    both = nats(x, sigma_x, z, sigma_z)
    own = nats(x, sigma_x, x, sigma_x) * nats(z, sigma_z, z, sigma_z)
    # A code that is constant has no dependence of its own either.
    return {"qmi_nats": both, "qmi_ratio": both / math.sqrt(own) if own > 0 else 0.0}

  return assess
