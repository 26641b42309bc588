"""Views of vectors by added Gaussian noise."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Case, Scalar

Array = jax.Array


def gaussian_noise(scale: Scalar = 0.1) -> Callable[[Array, Array], Array]:
  """Adds independent normal noise to every number of the input.

  Formula: x + scale e, e ~ N(0, I).

  Args:
    scale: standard deviation in the input's units, >= 0; may be traced.

  Returns:
    `augment(x [n, ...], key) -> [n, ...]`.

  Raises:
    InputError: a negative scale.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.views.gaussian_noise import gaussian_noise
    >>> gaussian_noise(0.0)(jnp.ones((2, 3)), jax.random.key(0)).tolist()[0]
    [1.0, 1.0, 1.0]

  Source: definition; the views of Shwartz-Ziv et al. 2023 (arXiv:2303.00633), section 4, are of
  inputs with Gaussian noise.
  """
  checks.at_least("scale", scale, 0.0)

  def augment(x, key):
    return x + scale * rng.normal(rng.stream(key, "gaussian_noise"), x.shape)

  return augment


CASES = (
  Case(
    name="no noise",
    hyper=dict(scale=0.0),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0]])),
    expected=dict(x=[[1.0, -2.0]]),
    source="limit",
  ),
)
