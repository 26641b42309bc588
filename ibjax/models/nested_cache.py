"""Keys and values kept by their first few coordinates in an orthogonal basis that is trained.

Source: Lin et al. 2025, "MatryoshkaKV: adaptive KV compression via trainable orthogonal projection"
(arXiv:2410.14731).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.models.attention import GroupedQueryAttention, causal_softmax, rotate
from ibjax.models.capture import recording

Array = jax.Array
_EXACT = jax.lax.Precision.HIGHEST
SIDES = ("key", "value")


class NestedCacheAttention(GroupedQueryAttention):
  """Grouped-query attention that meets keys and values as their first coordinates give them back.

  Formula: with U [head_dim, head_dim] orthogonal, a mean m and a mask of the kept coordinates, of
  each head of keys and of values: k -> m + ((k - m) U mask) U^T, the keys after their positions
  have turned them. Here all of it is a parameter, the mask too, so that a trained grouped-query
  decoder's parameters and these together (`with_projections`) are a decoder's.

  Masking shows what a rank costs and saves no memory; `attend_kept` keeps and reads the kept
  coordinates alone.

  Attributes:
    shape: the sizes.
  """

  def kept(self, key: Array, value: Array) -> tuple[Array, Array]:
    """Projects keys and values.

    Args:
      key: [n, t, kv_heads, head_dim], turned by their positions.
      value: [n, t, kv_heads, head_dim].

    Returns:
      (key, value) of the same shapes.
    """
    size = self.shape.head_dim
    heads = (self.shape.kv_heads, size)

    def identity(key, shape, dtype):
      return jnp.broadcast_to(jnp.eye(size, dtype=dtype), shape)

    found = []
    for side, given in zip(SIDES, (key, value)):
      basis = self.param(f"{side}_basis", identity, (*heads, size), jnp.float32)
      mean = self.param(f"{side}_mean", nn.initializers.zeros, heads, jnp.float32)
      mask = self.param(f"{side}_mask", nn.initializers.ones, heads, jnp.float32)
      away = given.astype(jnp.float32) - mean
      coordinates = jnp.einsum("ntgd,gdr->ntgr", away, basis) * mask
      back = mean + jnp.einsum("ntgr,gdr->ntgd", coordinates, basis)
      found.append(back.astype(given.dtype))
    return found[0], found[1]


class Projections(NamedTuple):
  """Bases and means of all layers and heads; axis 1 is keys, then values.

  Attributes:
    start: [layers, 2, kv_heads, d, d] orthogonal, where training began; held.
    skew: [layers, 2, kv_heads, d, d], 0 at the start: the basis is start Cayley(skew - skew^T).
    mean: [layers, 2, kv_heads, d].
  """

  start: Array
  skew: Array
  mean: Array


def cayley(x: Array) -> Array:
  """An orthogonal matrix of any square one.

  Formula: A = x - x^T; U = (I - A/2)^-1 (I + A/2); then one Newton step U (3 I - U^T U) / 2, which
  takes the error of the solution back to rounding.

  Its values have determinant 1 and no eigenvalue -1, so that not every orthogonal matrix is one:
  the inverse map is singular at a basis of determinant -1, which eigenvectors are half of the time.
  `bases` multiplies a fixed basis by it instead, and so starts anywhere.

  Args:
    x: [..., d, d].

  Returns:
    [..., d, d] float32.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.models.nested_cache import cayley
    >>> cayley(jnp.array([[0.0, 2.0], [0.0, 0.0]])).round(6).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]

  Source: Cayley 1846, as Lin et al. 2025 (arXiv:2410.14731) train by it.
  """
  half = 0.5 * (x - jnp.swapaxes(x, -1, -2))
  eye = jnp.eye(x.shape[-1], dtype=x.dtype)
  return polish(jnp.linalg.solve(eye - half, eye + half))


def polish(u: Array) -> Array:
  """One Newton step towards the nearest orthogonal matrix.

  Formula: U (3 I - U^T U) / 2; an error e in U^T U becomes 3 e^2 / 4.

  Args:
    u: [..., d, d], nearly orthogonal.

  Returns:
    [..., d, d].
  """
  gram = jnp.matmul(jnp.swapaxes(u, -1, -2), u, precision=_EXACT)
  return jnp.matmul(u, 1.5 * jnp.eye(u.shape[-1], dtype=u.dtype) - 0.5 * gram, precision=_EXACT)


def bases(projections: Projections) -> Array:
  """The orthogonal bases of projections.

  Args:
    projections: `Projections`.

  Returns:
    [layers, 2, kv_heads, d, d], columns in the order in which they are kept.
  """
  turned = cayley(projections.skew)
  return polish(jnp.matmul(projections.start, turned, precision=_EXACT))


def principal(params: Any, keywords: Mapping[str, Any], tokens: Array) -> Projections:
  """The principal components of the keys and values of a decoder: the baseline, and the start.

  Formula: per layer, head and side, the mean, and the eigenvectors of the covariance, the largest
  eigenvalue first. No projection of rank r has a smaller mean square error than the first r: the
  sum of the eigenvalues left out.

  Args:
    params: of the decoder, of attention "grouped_query".
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    tokens: [n, t] to calibrate on, e.g. sequences of the training split.

  Returns:
    `Projections` that were not trained.

  Source: Lin et al. 2025 (arXiv:2410.14731), who start from it; theirs is of the keys repeated for
  each query head, this of the heads that are kept.
  """
  found = []
  for sides in keys_and_values(params, keywords, tokens):
    for given in sides:
      x = np.asarray(given, np.float64).reshape(-1, *given.shape[2:])
      mean = x.mean(axis=0)
      covariance = np.einsum("ngd,nge->gde", x - mean, x - mean) / len(x)
      found.append((mean, np.linalg.eigh(covariance)[1][:, :, ::-1]))
  layers = len(found) // 2
  mean, start = (
    jnp.asarray(np.stack(part).reshape(layers, 2, *part[0].shape), jnp.float32)
    for part in zip(*found)
  )
  return Projections(polish(start), jnp.zeros_like(start), mean)


def keys_and_values(
  params: Any, keywords: Mapping[str, Any], tokens: Array
) -> list[tuple[Array, Array]]:
  """The keys, turned by their positions, and the values of all layers.

  Args:
    params: of the decoder, of attention "grouped_query".
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    tokens: [n, t].

  Returns:
    (key, value) of each layer, each [n, t, kv_heads, head_dim].
  """
  from ibjax.models.decoder import decoder  # which knows this attention by its name

  positions, base = jnp.arange(tokens.shape[1]), float(keywords.get("rotary_base", 10_000))
  shape = (*tokens.shape, int(keywords.get("kv_heads", 4)), -1)

  @jax.jit
  def run(params: Any) -> list[tuple[Array, Array]]:
    with recording() as record:
      decoder(**keywords).apply(params, {}, tokens, key=None, train=False)
    return [
      (
        rotate(record[f"block_{i}/attention/key.out"].reshape(shape), positions, base),
        record[f"block_{i}/attention/value.out"].reshape(shape),
      )
      for i in range(sum(name.startswith("block_") for name in params))
    ]

  return run(params)


def with_projections(params: Any, basis: Array, mean: Array, ranks: Any) -> dict[str, Any]:
  """The parameters of a decoder of attention "nested_cache".

  Args:
    params: of the same decoder with attention "grouped_query".
    basis: [layers, 2, kv_heads, d, d], see `bases`.
    mean: [layers, 2, kv_heads, d].
    ranks: [layers, 2, kv_heads] int, how many coordinates are kept.

  Returns:
    The decoder's parameters, and the projections beside them.

  Raises:
    InputError: shapes that do not fit, or a rank below 0 or above the dimension.
  """
  layers, _, kv_heads, size = mean.shape
  checks.shape("basis", basis, (layers, 2, kv_heads, size, size))
  checks.shape("ranks", ranks, (layers, 2, kv_heads))
  if checks.is_concrete(ranks) and (np.min(ranks) < 0 or np.max(ranks) > size):
    raise InputError(
      f"ranks lie in {int(np.min(ranks))}..{int(np.max(ranks))}, expected 0..{size}: a head has "
      f"{size} dimensions."
    )
  mask = (jnp.arange(size) < jnp.asarray(ranks)[..., None]).astype(jnp.float32)
  found = dict(params)
  for layer in range(layers):
    block = params[f"block_{layer}"]
    given = {
      f"{side}_{name}": value[layer, i]
      for i, side in enumerate(SIDES)
      for name, value in (("basis", basis), ("mean", mean), ("mask", mask))
    }
    found[f"block_{layer}"] = {**block, "attention": {**block["attention"], **given}}
  return found


def keep(x: Array, basis: Array, mean: Array, ranks: Sequence[int]) -> Array:
  """What is put into a cache of a layer's keys, or values.

  Formula: (x_g - m_g) U_g[:, :r_g] of all heads g, side by side.

  Args:
    x: [n, t, kv_heads, d].
    basis: [kv_heads, d, d].
    mean: [kv_heads, d].
    ranks: of each head, Python integers.

  Returns:
    [n, t, sum of ranks].
  """
  parts = [
    jnp.matmul(x[:, :, head] - mean[head], basis[head, :, :rank], precision=_EXACT)
    for head, rank in enumerate(ranks)
  ]
  return jnp.concatenate(parts, axis=-1)


def attend_kept(
  query: Array,
  kept: tuple[Array, Array],
  basis: Array,
  mean: Array,
  ranks: Sequence[Sequence[int]],
  positions: Array,
) -> Array:
  """Attends to a cache that holds the kept coordinates alone, which are never expanded.

  Formula: score = (q U_k[:, :r] . k~ + q . m_k) / sqrt(d); out = (sum_s a_s v~_s) U_v[:, :r]^T +
  m_v, because the weights sum to one.

  Args:
    query: [n, t, heads, d], turned by their positions.
    kept: (keys [n, s, sum of ranks], values [n, s, sum of ranks]), see `keep`.
    basis: [2, kv_heads, d, d] of the layer.
    mean: [2, kv_heads, d] of the layer.
    ranks: (of the keys' heads, of the values' heads).
    positions: [t] of the queries; what is kept is of the positions 0..s-1.

  Returns:
    [n, t, heads, d], what the heads give.

  Source: Lin et al. 2025 (arXiv:2410.14731), their scores and outputs.
  """
  shared = query.shape[2] // len(ranks[0])
  places, out = jnp.arange(kept[0].shape[1]), []
  ends = [np.cumsum([0, *side]) for side in ranks]
  for head, (key_rank, value_rank) in enumerate(zip(*ranks)):
    own = query[:, :, head * shared : (head + 1) * shared]
    key = kept[0][..., ends[0][head] : ends[0][head + 1]]
    value = kept[1][..., ends[1][head] : ends[1][head + 1]]
    short = jnp.einsum("nthd,dr->nthr", own, basis[0, head, :, :key_rank], precision=_EXACT)
    scores = jnp.einsum("nthr,nsr->nhts", short, key, precision=_EXACT)
    scores = scores + jnp.einsum("nthd,d->nht", own, mean[0, head], precision=_EXACT)[..., None]
    weights = causal_softmax(scores / np.sqrt(query.shape[-1]), positions, places)
    average = jnp.einsum("nhts,nsr->nthr", weights, value, precision=_EXACT)
    back = jnp.einsum("nthr,dr->nthd", average, basis[1, head, :, :value_rank], precision=_EXACT)
    out.append(back + mean[1, head])
  return jnp.concatenate(out, axis=2)


def nested_cache_bytes(ranks: Any, bytes_each: int = 4) -> int:
  """Bytes that is kept of every token.

  Formula: sum of all ranks times bytes; bases and means are the model's.

  Args:
    ranks: [layers, 2, kv_heads].
    bytes_each: of a number.

  Returns:
    Bytes per token.

  Example:
    >>> from ibjax.models.nested_cache import nested_cache_bytes
    >>> nested_cache_bytes([[[4, 2], [3, 3]]])
    48
  """
  return int(np.sum(ranks)) * bytes_each
