"""Sums of a function over the eigenvalues of a matrix that is only ever multiplied with.

Lanczos quadrature from random vectors of signs estimates the sum without bias, but a few large
eigenvalues make it noisy. So the same vectors are also put to a low-rank copy of the matrix, of
which the sum is known, and to the matrix and its square, whose traces are known; what the vectors
get wrong there is taken off. Nothing of n by n is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array


def sums(
  multiply: Callable[[Array], Array],
  functions: Callable[[Array], Array],
  n: int,
  traces: Array,
  key: Array,
  *,
  rank: int = 128,
  probes: int = 32,
  steps: int = 16,
) -> tuple[Array, Array]:
  """Estimates sum_i f(l_i) over the eigenvalues of a symmetric positive semidefinite matrix.

  Costs `steps` products with `probes` vectors and 2 with `rank`.

  Args:
    multiply: v [n, m] -> A v [n, m].
    functions: eigenvalues [...] >= 0 -> values [..., q], of q functions that are 0 at 0.
    n: size of the matrix, at least `rank`.
    traces: [2], the traces of A and of A A.
    key: a typed random key.
    rank: rank of the copy.
    probes: random vectors, at least 4; the error falls with their square root.
    steps: Lanczos steps from each; the quadrature is exact to degree 2 steps - 1.

  Returns:
    (sums [q], covariance [q, q] of their random errors).
  """
  seek, draw = jax.random.split(key)
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  basis = jnp.linalg.qr(multiply(jax.random.normal(seek, (n, rank))))[0]
  inner = product(basis.T, multiply(basis))
  large, turn = jnp.linalg.eigh(0.5 * (inner + inner.T))

  signs = jax.random.rademacher(draw, (n, probes), jnp.float32)
  # In the basis of its eigenvectors the copy is diagonal, with one more entry for all the rest.
  within = product(turn.T, product(basis.T, signs))
  beyond = jnp.sqrt(jnp.maximum(n - jnp.sum(jnp.square(within), axis=0), 0.0))
  diagonal = jnp.append(jnp.maximum(large, 0.0), 0.0)[:, None]
  same = jnp.concatenate([within, beyond[None]]) / jnp.sqrt(jnp.float32(n))
  found, copied = (
    n * jnp.einsum("ps,psq->pq", weights, _with_powers(functions, nodes))
    for nodes, weights in (
      _lanczos(multiply, signs / jnp.sqrt(jnp.float32(n)), steps),
      # By the same quadrature, so that its error, too, falls out of the difference.
      _lanczos(lambda v: diagonal * v, same, steps),
    )
  )
  copies = _with_powers(functions, large)
  left = found - copied  # [probes, q + 2]

  mean = jnp.mean(left, axis=0)
  spread = left - mean
  wanted, known = spread[:, :-2], spread[:, -2:]
  scale = jnp.maximum(jnp.linalg.norm(known, axis=0), jnp.finfo(jnp.float32).tiny)
  slope = jnp.linalg.lstsq(known / scale, wanted, rcond=1e-3)[0] / scale[:, None]
  off = mean[-2:] - (traces - jnp.sum(copies[:, -2:], axis=0))
  rest = wanted - product(known, slope)
  covariance = product(rest.T, rest) / (probes * (probes - 3))
  return jnp.sum(copies[:, :-2], axis=0) + mean[:-2] - product(off, slope), covariance


def _with_powers(functions: Callable[[Array], Array], eigenvalues: Array) -> Array:
  kept = jnp.maximum(eigenvalues, 0.0)
  powers = jnp.stack([kept, jnp.square(kept)], axis=-1)
  return jnp.concatenate([functions(kept), powers], axis=-1)


def _lanczos(multiply: Callable, start: Array, steps: int) -> tuple[Array, Array]:
  """Gauss quadrature of each column of `start` [n, p]: nodes and weights [p, steps].

  Without orthogonalisation anew: what rounding adds are copies of nodes that share a weight.
  """

  def step(carry, _):
    before, v, beta = carry
    w = multiply(v) - beta * before
    alpha = jnp.sum(v * w, axis=0)
    w = w - alpha * v
    beta = jnp.linalg.norm(w, axis=0)
    # An invariant subspace is found: what would follow is noise, and gets no weight.
    alive = beta > 1e-6
    beta = jnp.where(alive, beta, 0.0)
    return (v, jnp.where(alive, w / jnp.where(alive, beta, 1.0), 0.0), beta), (alpha, beta)

  carry = (jnp.zeros_like(start), start, jnp.zeros(start.shape[1]))
  _, (alphas, betas) = jax.lax.scan(step, carry, None, length=steps)

  def quadrature(alpha, beta):
    matrix = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
    nodes, vectors = jnp.linalg.eigh(matrix)
    return nodes, jnp.square(vectors[0])

  return jax.vmap(quadrature, in_axes=1)(alphas, betas)
