"""Linear maps of few active latents, whose backward pass touches the active ones alone.

A dictionary has thousands of latents, of which k are active for an input. Its gradients are sums
over n k pairs (example, latent), not products of matrices [n, latents]. Written as one gather and
one scatter they cost more than the matrix products on a CPU, where XLA runs both element by
element. Here they are k passes over the batch, each one row per example (a decoder pass, and the
gradient of the weights), and products over few rows at a time, whose gathered weights stay in the
cache (the gradient of the activations).

Over a mesh the latents lie on its "model" axis and the examples on its "data" axis. Each device
adds up what its own latents contribute; the sums [n, dim] and [n, k] are what is exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

Array = jax.Array

ROWS = 16  # examples whose gathered weights [ROWS, k, dim] are held at a time


def encode_at(
  values: Array | None, indices: Array, x: Array, weight: Array, bias: Array, mesh: Any = None
) -> Array:
  """Gives pre-activations that were selected before their gradients.

  Formula: out[n, j] = x[n] . weight[indices[n, j]] + bias[indices[n, j]], which `values` holds
  already where it was needed to select. Gradients reach x, weight and bias exactly; none passes
  through the selection.

  Args:
    values: [n, k] the pre-activations, as they were computed; None computes them.
    indices: [n, k] integers, which latents they are of.
    x: [n, d] inputs.
    weight: [latents, d].
    bias: [latents].
    mesh: the device mesh, when there are several devices; None for one.

  Returns:
    [n, k].

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.linear import encode_at
    >>> x, weight, bias = jnp.array([[2.0]]), jnp.array([[3.0], [5.0]]), jnp.zeros(2)
    >>> at = jnp.array([[1]])
    >>> jax.grad(lambda w: encode_at(jnp.array([[10.0]]), at, x, w, bias).sum())(weight).tolist()
    [[0.0], [2.0]]
  """

  def local(values, indices, x, weight, bias, axis):
    here, mine = _own(indices, weight.shape[0], axis)
    if values is None:
      values = jax.lax.stop_gradient(_inner(x, here, weight) + bias[here])
    return _sum(_encode(jnp.where(mine, values, 0.0), here, mine, x, weight, bias), axis)

  return over(mesh, local, x.shape[0], (True, True, True, False, False))(
    values, indices, x, weight, bias
  )


def decode_at(values: Array, indices: Array, weight: Array, mesh: Any = None) -> Array:
  """Adds up the rows of a dictionary that are active.

  Formula: out[n] = sum_j values[n, j] weight[indices[n, j]].

  Args:
    values: [n, k] activations.
    indices: [n, k] integers; a latent named twice counts twice.
    weight: [latents, d].
    mesh: the device mesh, when there are several devices; None for one.

  Returns:
    [n, d].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.linear import decode_at
    >>> weight = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> decode_at(jnp.array([[2.0, 3.0]]), jnp.array([[1, 0]]), weight).tolist()
    [[3.0, 2.0]]
  """

  def local(values, indices, weight, axis):
    here, mine = _own(indices, weight.shape[0], axis)
    return _sum(_decode(jnp.where(mine, values, 0.0), here, weight), axis)

  return over(mesh, local, values.shape[0], (True, True, False))(values, indices, weight)


def fired(values: Array, indices: Array, latents: int) -> Array:
  """Counts in how many examples each latent is active.

  Args:
    values: [n, k] activations.
    indices: [n, k] which latents they are of.
    latents: how many there are.

  Returns:
    [latents] float32.
  """
  active = (values > 0.0).astype(jnp.float32)
  return jnp.zeros(latents).at[indices.reshape(-1)].add(active.reshape(-1))


def over(mesh: Any, function: Callable[..., Any], n: int, by_row: tuple[bool, ...]) -> Any:
  """Runs a function on each device's examples and latents.

  Args:
    mesh: the device mesh, or None.
    function: takes arrays and `axis`, the name of the axis that latents lie on, or None. It
      returns arrays [n, ...] that do not differ along that axis.
    n: number of examples; where it does not divide, all devices see all examples.
    by_row: for each argument, whether its rows are examples; else they are latents.

  Returns:
    The function of whole arrays.
  """
  if mesh is None:
    return lambda *arrays: function(*arrays, axis=None)
  rows = PartitionSpec("data") if n % mesh.shape["data"] == 0 else PartitionSpec()
  # Within a population its axis is taken already: the mesh is then the one that surrounds us.
  around = jax.sharding.get_abstract_mesh()
  return jax.shard_map(
    lambda *arrays: function(*arrays, axis="model"),
    mesh=mesh if around.empty else around,
    in_specs=tuple(rows if mine else PartitionSpec("model") for mine in by_row),
    out_specs=rows,
    axis_names={"data", "model"},
    check_vma=False,
  )


def _own(indices: Array, latents: int, axis: str | None) -> tuple[Array, Array]:
  """(indices among this device's latents, which of them are its own)."""
  if axis is None:
    return indices, jnp.ones(indices.shape, bool)
  here = indices - jax.lax.axis_index(axis) * latents
  mine = (here >= 0) & (here < latents)
  return jnp.where(mine, here, 0), mine


def _sum(x: Array, axis: str | None) -> Array:
  return x if axis is None else jax.lax.psum(x, axis)


@jax.custom_vjp
def _encode(values, indices, mine, x, weight, bias):
  return values


def _encode_forward(values, indices, mine, x, weight, bias):
  return values, (indices, mine, x, weight)


def _encode_backward(kept, g):
  indices, mine, x, weight = kept
  g = jnp.where(mine, g, 0.0)
  d_bias = jnp.zeros(weight.shape[0], g.dtype).at[indices.reshape(-1)].add(g.reshape(-1))
  d_weight = _outer(g, indices, x, weight.shape[0])
  return None, None, None, _combine(g, indices, weight), d_weight, d_bias


_encode.defvjp(_encode_forward, _encode_backward)


@jax.custom_vjp
def _decode(values, indices, weight):
  return _combine(values, indices, weight)


def _decode_forward(values, indices, weight):
  return _combine(values, indices, weight), (values, indices, weight)


def _decode_backward(kept, g):
  values, indices, weight = kept
  return _inner(g, indices, weight), None, _outer(values, indices, g, weight.shape[0])


_decode.defvjp(_decode_forward, _decode_backward)


def _combine(values: Array, indices: Array, weight: Array) -> Array:
  """sum_j values[n, j] weight[indices[n, j]], [n, d]."""
  count, weight = values.shape[1], jnp.asarray(weight)  # a host's array cannot be indexed below

  def add(j, total):
    return total + values[:, j, None] * weight[indices[:, j]]

  zero = jnp.zeros((values.shape[0], weight.shape[1]), weight.dtype)
  # Eight terms are one pass over the batch. The loop keeps XLA from fusing the sum into what comes
  # after it, which it would then compute anew for every use, element by element.
  return jax.lax.fori_loop(0, count, add, zero, unroll=8)


def _inner(x: Array, indices: Array, weight: Array) -> Array:
  """x[n] . weight[indices[n, j]], [n, k]."""
  n = x.shape[0]

  def some(part):
    rows, at = part
    return jnp.einsum("nd,nkd->nk", rows, weight[at])

  if n % ROWS:
    return some((x, indices))
  parts = (x.reshape(-1, ROWS, x.shape[1]), indices.reshape(-1, ROWS, indices.shape[1]))
  return jax.lax.map(some, parts).reshape(indices.shape)


def _outer(values: Array, indices: Array, x: Array, latents: int) -> Array:
  """sum over n, j of values[n, j] x[n] into row indices[n, j], [latents, d]."""

  def add(j, total):
    return total.at[indices[:, j]].add(values[:, j, None] * x)

  return jax.lax.fori_loop(0, values.shape[1], add, jnp.zeros((latents, x.shape[1]), x.dtype))
