"""Which latents are active: the largest of an example, of a batch, or of each latent.

Ties. The largest k of an example are those of `jax.lax.top_k`: of equal values the one of the
lower index, on any number of devices. Budgets over a batch are thresholds: everything that equals
the threshold is kept, so that the choice depends neither on the order of the examples nor on how
they are spread.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

Array = jax.Array

LEAST = 0x00800000  # bits of the least positive normal number


def top_k(scores: Array, k: int, mesh: Any = None) -> tuple[Array, Array]:
  """The k largest scores of each example, largest first, of equal ones the lower index first.

  Over a mesh whose "model" axis the latents lie on, each device takes the k largest of its own and
  the devices exchange these winners, k each: never the scores.

  Args:
    scores: [n, latents].
    k: how many, at most the number of latents.
    mesh: the device mesh, when there are several devices; None for one.

  Returns:
    (scores [n, k], indices [n, k] int32); bit for bit the same on any number of devices.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.selection import top_k
    >>> [found.tolist() for found in top_k(jnp.array([[1.0, 3.0, 3.0]]), 2)]
    [[[3.0, 3.0]], [[1, 2]]]
  """
  scores = jax.lax.stop_gradient(scores)
  if mesh is None:
    return jax.lax.top_k(scores, k)

  def local(scores):
    width = scores.shape[1]
    values, indices = jax.lax.top_k(scores, min(k, width))
    indices = indices + jax.lax.axis_index("model") * width

    def gather(x):
      return jax.lax.all_gather(x, "model", axis=1, tiled=True)

    values, indices = gather(values), gather(indices)
    # In the order of the devices, so that equal values stand in the order of their indices.
    values, at = jax.lax.top_k(values, k)
    return values, jnp.take_along_axis(indices, at, axis=1)

  rows = "data" if scores.shape[0] % mesh.shape["data"] == 0 else None
  around = jax.sharding.get_abstract_mesh()
  return jax.shard_map(
    local,
    mesh=mesh if around.empty else around,
    in_specs=PartitionSpec(rows, "model"),
    out_specs=PartitionSpec(rows),
    axis_names={"data", "model"},
    check_vma=False,
  )(scores)


def threshold(scores: Array, budget: Array, axis: int | tuple[int, ...]) -> Array:
  """The value of the budget-th largest score along axes, where scores below zero are zero.

  Formula: max {t > 0: #{scores >= t} >= budget}; where fewer than `budget` scores are positive,
  the least positive normal number, so that `scores >= t` keeps all that are. Found by halving the
  interval of representable numbers, 31 counts; devices exchange counts alone.

  Args:
    scores: [n, latents].
    budget: how many to keep; an integer or an array of the shape that is left, may be traced.
    axis: what is counted over.

  Returns:
    The thresholds, with the counted axes kept as 1; no gradient passes.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.selection import threshold
    >>> scores = jnp.array([[1.0, 3.0], [2.0, -1.0]])
    >>> float(threshold(scores, 2, (0, 1))[0, 0]), threshold(scores, 1, 0)[0].tolist()
    (2.0, [2.0, 3.0])
  """
  # Positive floats are ordered as the integers of the same bits.
  bits = jax.lax.bitcast_convert_type(
    jnp.maximum(jax.lax.stop_gradient(scores).astype(jnp.float32), 0.0), jnp.int32
  )
  shape = jnp.sum(bits, axis=axis, keepdims=True).shape
  budget = jnp.broadcast_to(jnp.asarray(budget, jnp.float32), shape)

  def halve(i, low):
    higher = low | (jnp.int32(1) << (30 - i))
    count = jnp.sum(bits >= higher, axis=axis, keepdims=True, dtype=jnp.int32)
    return jnp.where(count.astype(jnp.float32) >= budget, higher, low)

  found = jax.lax.fori_loop(0, 31, halve, jnp.zeros(shape, jnp.int32))
  return jax.lax.bitcast_convert_type(jnp.maximum(found, LEAST), jnp.float32)
