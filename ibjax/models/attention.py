"""Causal grouped-query attention with rotary positions, and what any attention here is made of.

An attention of the decoder is a flax module with one attribute, a `Shape`, and one call:
`module(x [n, t, width], positions [t], cache_length=0) -> [n, t, width]`. With `cache_length` > 0
it keeps what it needs of earlier positions in the flax collection "cache" (see `cached`), and
attends to all that is there. It sends what its heads made through a submodule named "heads",
[n, t, heads, head_dim], before the output projection: recording, splicing and codebooks find the
heads there. Another attention is another such class, by a name in `decoder.ATTENTIONS`.

Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2; rotary positions, Su et al. 2021
(arXiv:2104.09864), eq. 34; grouped queries, Ainslie et al. 2023 (arXiv:2305.13245).
"""

from __future__ import annotations

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Shape:
  """The sizes of an attention.

  Attributes:
    width: of the residual stream.
    heads: query heads.
    kv_heads: heads of keys and values; divides `heads`.
    head_dim: of each head; even.
    rotary_base: base of the rotary wavelengths.
    dtype: compute type.
    latent_rank: of the latent of `ibjax.models.latent_attention`; 0 for other attentions.
    rotary_dim: its dimensions that positions turn; even.
    rotary_pairs: which pairs of a head have the frequencies of its pairs; () spreads them evenly.
  """

  width: int
  heads: int
  kv_heads: int
  head_dim: int
  rotary_base: float
  dtype: jnp.dtype
  latent_rank: int = 0
  rotary_dim: int = 0
  rotary_pairs: tuple[int, ...] = ()


class Pass(nn.Module):
  """Hands its input on: a place with a name, at which a value can be seen and replaced."""

  def __call__(self, x: Array) -> Array:
    """Returns x.

    Args:
      x: any array.
    """
    return x


class GroupedQueryAttention(nn.Module):
  """Attention whose query heads share `kv_heads` heads of keys and values.

  Attributes:
    shape: the sizes.
  """

  shape: Shape

  @nn.compact
  def __call__(self, x: Array, positions: Array, cache_length: int = 0) -> Array:
    """Attends from each position to itself and those before.

    Formula: query head i reads key head g = floor(i kv_heads / heads);
    out_t = W_O [sum_{s <= t} softmax_s(R(q_it, t) . R(k_gs, s) / sqrt(d)) v_gs]_i.

    Args:
      x: [n, t, width].
      positions: [t] int32, those of x in the sequence, ascending.
      cache_length: 0 attends within x; else to all of a cache of so many positions.

    Returns:
      [n, t, width].
    """
    shape = self.shape

    def project(name, heads):
      out = dense(heads * shape.head_dim, shape.dtype, name)(x)
      return out.reshape(*x.shape[:2], heads, shape.head_dim)

    query = rotate(project("query", shape.heads), positions, shape.rotary_base)
    key = rotate(project("key", shape.kv_heads), positions, shape.rotary_base)
    value = project("value", shape.kv_heads)
    key, value = self.kept(key, value)
    places = positions
    if cache_length:
      key = cached(self, "key_cache", key, positions, cache_length)
      value = cached(self, "value_cache", value, positions, cache_length)
      places = jnp.arange(cache_length)
    # Query heads that share a key head stand side by side.
    grouped = query.reshape(*query.shape[:2], shape.kv_heads, -1, shape.head_dim)
    scores = jnp.einsum("ntgid,nsgd->ngits", grouped, key) / math.sqrt(shape.head_dim)
    weights = causal_softmax(scores, positions, places)
    out = jnp.einsum("ngits,nsgd->ntgid", weights, value).reshape(query.shape)
    out = Pass(name="heads")(out)
    return dense(shape.width, shape.dtype, "output")(out.reshape(*x.shape[:2], -1))

  def kept(self, key: Array, value: Array) -> tuple[Array, Array]:
    """What is kept of keys and values: here, all of them.

    Args:
      key: [n, t, kv_heads, head_dim], turned by their positions.
      value: [n, t, kv_heads, head_dim].

    Returns:
      (key, value) as queries meet them, of the same shapes.
    """
    return key, value


def dense(out: int, dtype: jnp.dtype, name: str) -> nn.Dense:
  """A linear layer without bias, its parameters float32.

  Args:
    out: its width.
    dtype: compute type.
    name: its name in the module that makes it.

  Returns:
    The layer.
  """
  return nn.Dense(out, use_bias=False, dtype=dtype, param_dtype=jnp.float32, name=name)


def rotate(x: Array, positions: Array, base: float) -> Array:
  """Turns pairs of dimensions by angles in proportion to the position.

  Formula: dimensions j and j + d/2 are a pair, turned by positions base^(-2 j / d).

  Args:
    x: [n, t, heads, d], d even.
    positions: [t].
    base: of the wavelengths.

  Returns:
    The same shape and type; the product of two vectors so turned depends on the difference of
    their positions alone.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.models.attention import rotate
    >>> rotate(jnp.ones((1, 1, 1, 2)), jnp.array([0]), 10_000.0).ravel().tolist()
    [1.0, 1.0]

  Source: Su et al. 2021 (arXiv:2104.09864), eq. 34, with the dimensions paired in halves.
  """
  half = x.shape[-1] // 2
  return turn(x, positions, base ** (-jnp.arange(half, dtype=jnp.float32) / half))


def turn(x: Array, positions: Array, frequency: Array) -> Array:
  """Turns dimensions j and j + d/2 by the position times the frequency of pair j.

  Args:
    x: [n, t, heads, d], d even.
    positions: [t].
    frequency: [d / 2], the angle per position.

  Returns:
    The same shape and type.

  Source: Su et al. 2021 (arXiv:2104.09864), eq. 34.
  """
  angle = positions.astype(jnp.float32)[:, None] * frequency
  cos, sin = (part[:, None, :] for part in (jnp.cos(angle), jnp.sin(angle)))
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x.dtype)


def causal_softmax(scores: Array, positions: Array, places: Array) -> Array:
  """Weights of a softmax over the places that are not after a position, computed in float32.

  Args:
    scores: [..., t, s].
    positions: [t] of the queries.
    places: [s] of the keys.

  Returns:
    [..., t, s], of the scores' type; 0 for places after the position.
  """
  seen = places[None, :] <= positions[:, None]
  masked = jnp.where(seen, scores.astype(jnp.float32), -jnp.inf)
  return jax.nn.softmax(masked, axis=-1).astype(scores.dtype)


def cached(module: nn.Module, name: str, value: Array, positions: Array, length: int) -> Array:
  """Puts the values of the positions at hand into a module's cache, and returns all of it.

  Args:
    module: the attention, within its call.
    name: of the entry.
    value: [n, t, ...] of this call.
    positions: [t], consecutive.
    length: positions that the cache holds.

  Returns:
    [n, length, ...]; zeros where nothing was put yet.
  """
  shape = (value.shape[0], length, *value.shape[2:])
  store = module.variable("cache", name, jnp.zeros, shape, value.dtype)
  store.value = jax.lax.dynamic_update_slice_in_dim(store.value, value, positions[0], axis=1)
  return store.value
