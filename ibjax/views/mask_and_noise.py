"""Views of incomplete observations: Gaussian noise, and more values missing.

Source: Yang et al. 2025, "Revisiting multivariate time series forecasting with missing values"
(arXiv:2509.23494).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Case, Scalar

Array = jax.Array


def mask_and_noise(missing: Scalar = 0.1, noise: Scalar = 0.01) -> Callable[[Array, Array], Array]:
  """Takes away a share of the values, each by itself, and adds noise to those that stay.

  Formula: m (x + noise e), e ~ N(0, I), m = 0 with probability `missing` and 1 else.

  A missing value is 0, as in the inputs themselves, and marked by nothing. Use it to make a harder
  view of a partly observed input, e.g. with config.views = dict(fn=..., count=2, keep_first=True),
  whose first view is the input as it is.

  Args:
    missing: probability that a value is taken away, in [0, 1]; may be traced.
    noise: standard deviation of the noise in the input's units, >= 0; may be traced. The paper
      gives none; its code has a hundredth of the inputs' deviation.

  Returns:
    `augment(x [n, ...], key) -> [n, ...]`.

  Raises:
    InputError: a probability outside [0, 1], a negative noise.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.views.mask_and_noise import mask_and_noise
    >>> mask_and_noise(missing=1.0)(jnp.ones((1, 3)), jax.random.key(0)).tolist()
    [[0.0, 0.0, 0.0]]

  Source: Yang et al. 2025 (arXiv:2509.23494), its data augmentation: 10% more zeros and Gaussian
  noise.
  """
  checks.between("missing", missing, 0.0, 1.0)
  checks.at_least("noise", noise, 0.0)

  def augment(x, key):
    stays = rng.uniform(rng.stream(key, "missing"), x.shape) >= missing
    return jnp.where(stays, x + noise * rng.normal(rng.stream(key, "noise"), x.shape), 0.0)

  return augment


CASES = (
  Case(
    name="nothing missing, no noise",
    hyper=dict(missing=0.0, noise=0.0),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0]])),
    expected=dict(x=[[1.0, -2.0]]),
    source="limit",
  ),
  Case(
    name="all missing: noise is taken away too",
    hyper=dict(missing=1.0, noise=5.0),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0]])),
    expected=dict(x=[[0.0, 0.0]]),
    source="limit",
  ),
)
