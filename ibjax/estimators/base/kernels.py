"""Squared distances and kernels of tiles, in float32 and with care for what cancels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
DIRECT_UP_TO = 32  # columns for which differences are formed one by one
SUBSAMPLE = 512  # rows the median rule looks at


def centre(x: Any) -> Array:
  """Takes the column means away, in float64 where the values are known, and gives float32.

  Args:
    x: [n, d].

  Returns:
    [n, d] float32.
  """
  if isinstance(x, np.ndarray):
    return jnp.asarray(x - x.mean(0), jnp.float32)
  x = jnp.asarray(x, jnp.float32)
  return x - jnp.mean(x, axis=0)


def squared_distances(a: Array, b: Array) -> Array:
  """Squared Euclidean distances between the rows of two blocks, never below zero.

  Up to 32 columns the differences themselves are squared. Beyond, |a|^2 + |b|^2 - 2 a.b, whose
  error is about 1e-7 (|a|^2 + |b|^2): give centred rows.

  Args:
    a: [p, d].
    b: [q, d].

  Returns:
    [p, q].
  """
  d = a.shape[1]
  if d <= DIRECT_UP_TO:
    return sum((jnp.square(a[:, k, None] - b[None, :, k]) for k in range(d)), jnp.float32(0.0))
  products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
  norms = jnp.sum(jnp.square(a), axis=1)[:, None] + jnp.sum(jnp.square(b), axis=1)
  return jnp.maximum(norms - 2.0 * products, 0.0)


def median_distance(x: Array) -> Array:
  """The median heuristic: the median distance between pairs of distinct rows.

  Of more than 512 rows, 512 evenly spaced ones are looked at. Where more than half of the pairs
  are at distance zero it is the mean distance, and 1 where all rows are equal.

  Args:
    x: [n, d] float32, centred.

  Returns:
    Scalar, in the units of x (a standard deviation, not a variance).
  """
  n = len(x)
  take = np.arange(min(n, SUBSAMPLE)) * n // min(n, SUBSAMPLE)
  some = x[take]
  upper = np.triu_indices(len(take), 1)
  distances = jnp.sqrt(squared_distances(some, some)[upper])
  median, mean = jnp.median(distances), jnp.mean(distances)
  return jnp.where(median > 0, median, jnp.where(mean > 0, mean, 1.0))
