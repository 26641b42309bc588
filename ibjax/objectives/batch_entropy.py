"""Matrix-based Renyi entropies of one batch: masked, traced, differentiable.

The entropy of a positive semidefinite matrix of trace one is that of its eigenvalues. The
estimator `kernel.matrix_renyi` is the same of many samples.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Scalar
from ibjax.objectives.batch_kernels import at_least_float32

Array = jax.Array

SPECTRA = ("quadratic", "eigenvalues")
LEAST = 1e-7  # of the trace: eigenvalues below are rounding, of either sign
NEAR_ONE = 1e-4  # orders this near 1 are 1: the powers would have no digits left


def check_order(alpha: Scalar, spectrum: str) -> None:
  """Raises InputError for an order that is not positive, or an unknown way to the spectrum.

  Args:
    alpha: order of the entropy, > 0.
    spectrum: one of `SPECTRA`.

  Example:
    >>> from ibjax.objectives.batch_entropy import check_order
    >>> check_order(1.01, "eigenvalues")
  """
  checks.at_least("alpha", alpha, 0.0, strict=True)
  checks.one_of("spectrum", spectrum, SPECTRA)


def renyi(matrix: Array, alpha: Scalar, spectrum: str) -> Array:
  """Renyi entropy of the eigenvalues of a matrix, divided by their sum.

  Formula: S = log(sum_i l_i^alpha) / (1 - alpha), l the eigenvalues of M / tr M; -sum l log l at
  alpha = 1. "quadratic" is alpha = 2, S = -log(||M||_F^2 / (tr M)^2), without eigenvalues.

  Eigenvalues below 1e-7 of the trace count as 0 and pass no gradient: rounding leaves some of
  either sign where there is none.

  Args:
    matrix: [n, n], symmetric, positive semidefinite; rows of zeros count as nothing.
    alpha: > 0, of "eigenvalues"; may be traced.
    spectrum: one of `SPECTRA`.

  Returns:
    Scalar nats in [0, log n]; 0 for a matrix of zeros.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_entropy import renyi
    >>> [round(float(renyi(jnp.eye(4), 1.01, s)), 4) for s in ("quadratic", "eigenvalues")]
    [1.3863, 1.3863]

  Source: Sanchez Giraldo et al. 2015 (arXiv:1211.2459), the matrix-based entropy; in nats.
  """
  trace = jnp.trace(matrix)
  empty = trace == 0
  scaled = matrix / jnp.where(empty, 1.0, trace)
  if spectrum == "quadratic":
    total = jnp.sum(jnp.square(scaled))
    return -jnp.log(jnp.where(empty, 1.0, total))
  eigenvalues = jnp.linalg.eigvalsh(scaled)
  dropped = eigenvalues <= LEAST  # not "kept if above": what is not a number stays one
  safe = jnp.where(dropped, 1.0, eigenvalues)
  near_one = jnp.abs(alpha - 1.0) < NEAR_ONE
  order = jnp.where(near_one, 2.0, alpha)
  shannon = jnp.sum(jnp.where(dropped, 0.0, -safe * jnp.log(safe)))
  # l^a - l, whose sum is that of the powers less the trace, keeps the digits near alpha = 1.
  powers = jnp.where(dropped, 0.0, safe * jnp.expm1((order - 1.0) * jnp.log(safe)))
  return jnp.where(near_one, shannon, jnp.log1p(jnp.sum(powers)) / (1.0 - order))


def of_rows(values: Array, mask: Array, alpha: Scalar, spectrum: str, centred: bool) -> Array:
  """Matrix-based entropy of examples under the linear kernel.

  Formula: `renyi` of Z Z^T, or of Z^T Z, which has the same eigenvalues other than 0: the smaller
  of the two is made.

  Args:
    values: [n, d].
    mask: [n] bool, True where the example counts.
    alpha: as of `renyi`.
    spectrum: as of `renyi`.
    centred: take the mean of the rows away first.

  Returns:
    Scalar nats in [0, log min(n, d)]; it does not change with the scale of the values.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_entropy import of_rows
    >>> z = jnp.eye(3)[:, :2]  # two directions, one example without any
    >>> round(float(of_rows(z, jnp.ones(3, bool), 2.0, "quadratic", False)), 6)  # log 2
    0.693147
  """
  counted = mask[:, None]
  values = jnp.where(counted, at_least_float32(values), 0.0)
  if centred:
    count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
    values = jnp.where(counted, values - jnp.sum(values, axis=0) / count, 0.0)
  # Of one size whatever the scale, so that squares of squares neither overflow nor vanish.
  size = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
  values = values / jnp.where(size == 0, 1.0, size)
  n, d = values.shape
  left, right = (values, values.T) if n <= d else (values.T, values)
  return renyi(jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST), alpha, spectrum)
