"""Effective encoding dimension: how many directions the features of a layer fill.

Source: "effective encoding dimension" (arXiv:2512.07331); Roy and Vetterli 2007, "The effective
rank".
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core.estimate import Value
from ibjax.core.types import Case
from ibjax.estimators.base import kernels
from ibjax.estimators.base.contract import Estimator


def effective_dimension(centred: bool = True) -> Estimator:
  """Measures how many directions carry the variance of x, as the exponential of an entropy.

  Formula: with the eigenvalues l_i of the covariance and p_i = l_i / sum l,
  D = exp(-sum p_i log p_i), between 1 and the number of columns.

  The estimate's `nats` holds D itself, a number of dimensions. Assumes nothing of the
  distribution; only second moments count. Use it to follow a layer through depth and training.
  Bias: too low with few samples, as it cannot exceed n - 1. Without centring, the direction of
  the mean dominates.

  Args:
    centred: take the mean of each column away; False uses second moments about zero.

  Returns:
    An `Estimator` of x [n, d]. Diagnostics: "entropy_nats" (log D) and "normalised" (D / d).
    Constant x has dimension 1 by continuity.

  Raises:
    InputError: when called with anything but numbers [n, d].

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.spectral.effective_dimension import effective_dimension
    >>> round(effective_dimension()(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])).nats, 3)
    2.0

  Source: arXiv:2512.07331 (EED, for the features of vision transformers); the same number is the
  effective rank of the covariance, Roy and Vetterli 2007.
  """

  def value(x, y, z, key) -> Value:
    features = kernels.centre(x) if centred else jnp.asarray(x, jnp.float32)
    entropy = _entropy(features)
    dimension = jnp.exp(entropy)
    return Value(
      dimension, extra={"entropy_nats": entropy, "normalised": dimension / features.shape[1]}
    )

  return Estimator(
    name="effective_dimension",
    value=value,
    y="none",
    quantity="dimension",
    no_interval="the spread of eigenvalues over samples has no simple form",
    invariances=("scale", "rows") + (("translation",) if centred else ()),
    jittable=True,
  )


@jax.jit
def _entropy(x):
  n, d = x.shape
  x = x / jnp.maximum(jnp.max(jnp.abs(x)), jnp.finfo(jnp.float32).tiny)
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  # The smaller of the two matrices has the same eigenvalues above zero.
  moments = product(x.T, x) if d <= n else product(x, x.T)
  eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(moments), 0.0)
  tiny = jnp.finfo(jnp.float32).tiny
  p = eigenvalues / jnp.maximum(jnp.sum(eigenvalues), tiny)
  return -jnp.sum(p * jnp.log(jnp.maximum(p, tiny)))


CASES = (
  Case(
    name="two equal directions of three",
    hyper=dict(),
    inputs=lambda: dict(x=5.0 + np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])),
    expected=dict(nats=2.0, entropy_nats=math.log(2), normalised=2 / 3),
    source="closed form: p = (1/2, 1/2, 0)",
  ),
  Case(
    name="variances 3 to 1",
    hyper=dict(),
    inputs=lambda: dict(x=np.array([[math.sqrt(3), 0], [-math.sqrt(3), 0], [0, 1], [0, -1]])),
    expected=dict(entropy_nats=-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))),
    source="closed form: p = (3/4, 1/4)",
  ),
  Case(
    name="more columns than rows",
    hyper=dict(centred=False),
    inputs=lambda: dict(x=np.eye(3, 7)),
    expected=dict(nats=3.0),
    source="closed form: three orthonormal rows",
  ),
)
TRUTHS = ()
