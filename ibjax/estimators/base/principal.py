"""Principal components: a linear compression, and a whitening."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError

Array = jax.Array


def principal_components(x: Array, dim: int) -> tuple[Array, Array]:
  """Keeps the directions of largest variance, each brought to unit variance.

  Formula: (x - mean) V L^-1/2, V and L the leading eigenvectors and eigenvalues of the
  covariance. A direction without variance gives zeros.

  Args:
    x: [n, d].
    dim: how many components, at most min(n - 1, d).

  Returns:
    (code [n, dim], kept): `kept` is the fraction of the variance in these directions.

  Raises:
    InputError: more components than x can have.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.principal import principal_components
    >>> code, kept = principal_components(jnp.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]), 1)
    >>> code.shape, round(float(kept), 4)
    ((3, 1), 1.0)

  Source: Pearson 1901; as a compression before estimating mutual information, Butakov et al.
    2024 (arXiv:2305.08013).
  """
  n, d = x.shape
  checks.at_least("dim", dim, 1)
  if dim > min(n - 1, d):
    raise InputError(
      f"principal_components: {dim} components of x with shape [{n}, {d}], expected at most "
      f"{min(n - 1, d)}."
    )
  centred = x - jnp.mean(x, axis=0)
  scale = jnp.max(jnp.abs(centred))  # so that no square overflows float32
  centred = centred / jnp.where(scale > 0, scale, 1.0)
  if d <= n:
    values, vectors = jnp.linalg.eigh(centred.T @ centred / n)
    code = centred @ vectors[:, ::-1][:, :dim]
  else:  # the same components from the rows' products, [n, n] and smaller
    values, vectors = jnp.linalg.eigh(centred @ centred.T / n)
    code = vectors[:, ::-1][:, :dim]
  values = jnp.maximum(values[::-1], 0.0)
  total = jnp.sum(values)
  kept = jnp.where(total > 0, jnp.sum(values[:dim]) / jnp.where(total > 0, total, 1.0), 1.0)
  spread = jnp.sqrt(jnp.mean(jnp.square(code), axis=0))
  real = values[:dim] > 1e-10 * values[0]
  return jnp.where(real, code / jnp.where(spread > 0, spread, 1.0), 0.0), kept
