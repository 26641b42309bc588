"""Multi-head latent attention: keys and values of all heads are made from one small latent.

Source: DeepSeek-AI 2024, "DeepSeek-V2" (arXiv:2405.04434), section 2.1.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.models.attention import Pass, Shape, cached, causal_softmax, dense, turn

Array = jax.Array


class LatentAttention(nn.Module):
  """Attention that keeps a latent and one rotary key per position, and no heads.

  Without a cache the latent is expanded to the keys and values of all heads, which is the cheaper
  form where many positions are computed at once. With a cache the up-projections are absorbed into
  the query and the output: scores and averages are of the latents themselves. The two are equal.

  Attributes:
    shape: the sizes; `latent_rank` and `rotary_dim` are those of this attention.
  """

  shape: Shape

  @nn.compact
  def __call__(self, x: Array, positions: Array, cache_length: int = 0) -> Array:
    """Attends from each position to itself and those before.

    Formula: c = W_D x [r]; keys of head i are [U_i c, R(W_R x)], the second part, of `rotary_dim`
    numbers, being turned by the position and shared by all heads; values V_i c; queries
    [q_i, R(q'_i)]; scores q.k / sqrt(head_dim + rotary_dim). Absorbed: (U_i^T q_i).c for the first
    part, and V_i applied to the average of c.

    Args:
      x: [n, t, width].
      positions: [t] int32, those of x in the sequence, ascending.
      cache_length: 0 attends within x; else to all of a cache of so many positions.

    Returns:
      [n, t, width].
    """
    shape, (n, t, _) = self.shape, x.shape
    frequency = jnp.asarray(frequencies(shape), jnp.float32)
    init = nn.initializers.lecun_normal(in_axis=0, out_axis=(1, 2))
    expanded = (shape.latent_rank, shape.heads, shape.head_dim)
    up_key = self.param("up_key", init, expanded, jnp.float32).astype(shape.dtype)
    up_value = self.param("up_value", init, expanded, jnp.float32).astype(shape.dtype)

    def project(name, heads, size):
      return dense(heads * size, shape.dtype, name)(x).reshape(n, t, heads, size)

    query = project("query", shape.heads, shape.head_dim)
    turned = turn(project("rotary_query", shape.heads, shape.rotary_dim), positions, frequency)
    rotary_key = turn(project("rotary_key", 1, shape.rotary_dim), positions, frequency)[:, :, 0]
    latent = dense(shape.latent_rank, shape.dtype, "down")(x)
    scale = 1.0 / math.sqrt(shape.head_dim + shape.rotary_dim)
    if cache_length:
      latent = cached(self, "latent_cache", latent, positions, cache_length)
      rotary_key = cached(self, "rotary_cache", rotary_key, positions, cache_length)
      places = jnp.arange(cache_length)
      scores = jnp.einsum("nthr,nsr->nhts", jnp.einsum("nthd,rhd->nthr", query, up_key), latent)
    else:
      places = positions
      key = jnp.einsum("nsr,rhd->nshd", latent, up_key)
      scores = jnp.einsum("nthd,nshd->nhts", query, key)
    scores = (scores + jnp.einsum("nthd,nsd->nhts", turned, rotary_key)) * scale
    weights = causal_softmax(scores, positions, places)
    if cache_length:
      average = jnp.einsum("nhts,nsr->nthr", weights, latent)
      out = jnp.einsum("nthr,rhd->nthd", average, up_value)
    else:
      out = jnp.einsum("nhts,nshd->nthd", weights, jnp.einsum("nsr,rhd->nshd", latent, up_value))
    out = Pass(name="heads")(out)
    return dense(shape.width, shape.dtype, "output")(out.reshape(n, t, -1))


def frequencies(shape: Shape) -> tuple[float, ...]:
  """The angle per position of each pair of rotary dimensions.

  Formula: base^(-2j / rotary_dim) for pair j; where `rotary_pairs` are named, as a conversion
  does, base^(-2p / head_dim) for each p of these.

  Args:
    shape: the sizes.

  Returns:
    `rotary_dim` / 2 numbers.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.models.attention import Shape
    >>> from ibjax.models.latent_attention import frequencies
    >>> sizes = dict(width=8, heads=2, kv_heads=2, head_dim=4, rotary_base=100.0)
    >>> frequencies(Shape(**sizes, dtype=jnp.float32, latent_rank=4, rotary_dim=4))
    (1.0, 0.1)
  """
  pairs, size = shape.rotary_pairs, shape.head_dim
  if not pairs:
    pairs, size = tuple(range(shape.rotary_dim // 2)), shape.rotary_dim
  return tuple(shape.rotary_base ** (-2.0 * pair / size) for pair in pairs)


def check_shape(shape: Shape) -> None:
  """Raises InputError where the sizes make no latent attention.

  Args:
    shape: the sizes.

  Raises:
    InputError: a rank below 1 or above what it is made of or expands to, rotary dimensions that are
      odd or below 2, or `rotary_pairs` that do not fit them.
  """
  most = min(shape.width, 2 * shape.heads * shape.head_dim)
  if not 1 <= shape.latent_rank <= most:
    raise InputError(
      f"latent_rank={shape.latent_rank} must lie in 1..{most}: a latent of a stream of width "
      f"{shape.width}, for {shape.heads} heads of {shape.head_dim} keys and values, has no more "
      "dimensions."
    )
  if shape.rotary_dim < 2 or shape.rotary_dim % 2:
    raise InputError(
      f"rotary_dim={shape.rotary_dim} must be even and at least 2: positions turn pairs of "
      "dimensions."
    )
  pairs = shape.rotary_pairs
  if pairs and (
    2 * len(pairs) != shape.rotary_dim or not all(0 <= p < shape.head_dim // 2 for p in pairs)
  ):
    raise InputError(
      f"rotary_pairs={pairs} must name rotary_dim / 2 = {shape.rotary_dim // 2} pairs of a head, "
      f"each in 0..{shape.head_dim // 2 - 1}."
    )


def grouped_query_cache_bytes(
  layers: int, kv_heads: int, head_dim: int, bytes_each: int = 4
) -> int:
  """Bytes that grouped-query attention keeps of every token.

  Formula: 2 layers kv_heads head_dim bytes.

  Args:
    layers: of the model.
    kv_heads: heads of keys and values.
    head_dim: of each.
    bytes_each: of a number.

  Returns:
    Bytes per token.

  Example:
    >>> from ibjax.models.latent_attention import grouped_query_cache_bytes
    >>> grouped_query_cache_bytes(layers=1, kv_heads=32, head_dim=128, bytes_each=1)
    8192
  """
  for name, size in dict(layers=layers, kv_heads=kv_heads, head_dim=head_dim).items():
    checks.at_least(name, size, 1)
  return 2 * layers * kv_heads * head_dim * bytes_each


def latent_cache_bytes(layers: int, latent_rank: int, rotary_dim: int, bytes_each: int = 4) -> int:
  """Bytes that latent attention keeps of every token.

  Formula: layers (latent_rank + rotary_dim) bytes.

  Args:
    layers: of the model.
    latent_rank: of the latent.
    rotary_dim: of the rotary key that all heads share.
    bytes_each: of a number.

  Returns:
    Bytes per token.

  Example:
    >>> from ibjax.models.latent_attention import latent_cache_bytes
    >>> latent_cache_bytes(layers=1, latent_rank=512, rotary_dim=64, bytes_each=1)
    576
  """
  for name, size in dict(layers=layers, latent_rank=latent_rank, rotary_dim=rotary_dim).items():
    checks.at_least(name, size, 1)
  return layers * (latent_rank + rotary_dim) * bytes_each
