"""The contrast of rows with their own columns, over the examples that count."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.estimators.base.bounds import info_nce

Array = jax.Array


def contrast_nats(scores: Array, mask: Array) -> Array:
  """How hard it is to tell which column belongs to a row: log n less the InfoNCE bound.

  Formula: -mean_i log [exp(s_ii) / sum_j exp(s_ij)], i and j over the n examples that count.

  Args:
    scores: [n, n], row i with column j.
    mask: [n] bool, True where an example counts.

  Returns:
    Scalar nats, >= 0; log n when all scores are equal, and 0 when no example counts.

  Raises:
    InputError: scores that are not square, or a mask of another length.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.contrast import contrast_nats
    >>> round(float(contrast_nats(jnp.zeros((4, 4)), jnp.arange(4) < 2)), 6)  # log 2
    0.693147

  Source: van den Oord et al. 2018 (arXiv:1807.03748), eq. 4.
  """
  n = scores.shape[0]
  checks.shape("scores", scores, (n, n))
  checks.shape("mask", mask, (n,))
  # A row that does not count has its own column alone, at 0, and so a contrast of exactly zero.
  kept = jnp.where(mask[:, None] & mask, scores, -jnp.inf)
  kept = jnp.where(jnp.eye(n, dtype=bool) & ~mask, 0.0, kept)
  total = n * (math.log(n) - info_nce(kept))
  return total / jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
