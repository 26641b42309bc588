"""Coding rates: the nats that vectors take when they are kept to a given precision.

Source: Ma et al. 2007, "Segmentation of multivariate mixed data via lossy data coding and
compression" (IEEE TPAMI 29:1546); Yu et al. 2020 (arXiv:2006.08558).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core.types import Scalar

Array = jax.Array


def log_det(z: Array, scale: Array) -> Array:
  """Log determinant of the identity plus a scaled second moment, by the smaller of its two forms.

  Formula: log det(I + scale Z'Z) = log det(I + scale ZZ') (Sylvester), by a Cholesky factor of
  whichever is smaller.

  Args:
    z: [..., n, d]; rows of zeros change nothing.
    scale: [...], >= 0.

  Returns:
    [...] nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.representation.coding_rate import log_det
    >>> round(float(log_det(jnp.eye(3), jnp.float32(1.0))), 4)  # 3 log 2
    2.0794
  """
  n, d = z.shape[-2:]
  other = jnp.swapaxes(z, -1, -2)
  a, b = (other, z) if d <= n else (z, other)
  gram = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
  return jnp.sum(_log_pivots(scale[..., None, None] * gram), axis=-1)


def coding_rate(z: Array, weight: Array, epsilon_squared: Scalar, gain: Scalar = 1.0) -> Array:
  """Nats per vector that a set of vectors takes at a mean squared error of epsilon^2.

  Formula: R = 1/2 log det(I + gain d / (m epsilon^2) Z'Z), m the number of rows that count.

  Args:
    z: [..., n, d], zeros in the rows that do not count.
    weight: [..., n], 1 where a row counts, else 0.
    epsilon_squared: the squared error allowed, > 0.
    gain: multiplies inside the determinant, gamma_1 of self-supervised learning.

  Returns:
    [...] nats; 0 where no row counts.

  Source: Yu et al. 2020 (arXiv:2006.08558), eq. 2 (R), in nats.
  """
  count = jnp.maximum(jnp.sum(weight, axis=-1), 1.0)
  return 0.5 * log_det(z, gain * z.shape[-1] / (count * epsilon_squared))


def class_coding_rate(
  z: Array, labels: Array, weight: Array, classes: int, epsilon_squared: Scalar
) -> Array:
  """The coding rate within classes, averaged over the rows.

  Formula: R_c = sum_j m_j/(2m) log det(I + d / (m_j epsilon^2) Z_j'Z_j).

  With few classes and a narrow code the determinants are of d by d matrices, one a class. Else
  they are all in one factorisation: with the entries between classes set to zero, the n by n
  matrix of inner products falls into blocks, and so does its Cholesky factor.

  Args:
    z: [n, d], zeros in the rows that do not count.
    labels: [n] integers in 0..classes-1.
    weight: [n], 1 where a row counts, else 0.
    classes: how many there are.
    epsilon_squared: the squared error allowed, > 0.

  Returns:
    Scalar nats.

  Source: Yu et al. 2020 (arXiv:2006.08558), eq. 6 (R_c), in nats.
  """
  n, d = z.shape
  member = jax.nn.one_hot(labels, classes) * weight[:, None]
  count = jnp.sum(member, axis=0)
  share = count / jnp.maximum(jnp.sum(count), 1.0)
  scale = d / (jnp.maximum(count, 1.0) * epsilon_squared)
  if classes * d**3 <= n**3:
    gram = jnp.einsum("nk,nd,ne->kde", member, z, z, precision=jax.lax.Precision.HIGHEST)
    pivots = _log_pivots(scale[:, None, None] * gram)
    return 0.5 * jnp.sum(share * jnp.sum(pivots, axis=-1))
  within = labels[:, None] == labels
  root = jnp.sqrt(scale[labels])[:, None] * z
  gram = jnp.matmul(root, root.T, precision=jax.lax.Precision.HIGHEST)
  return 0.5 * jnp.sum(share[labels] * _log_pivots(jnp.where(within, gram, 0.0)))


def _log_pivots(matrix: Array) -> Array:
  """[..., k, k] positive semidefinite -> [..., k], of I + matrix; their sum is its log det."""
  factor = jnp.linalg.cholesky(jnp.eye(matrix.shape[-1]) + matrix)
  return 2.0 * jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1))
