"""What quantisers are made of: the nearest code, moving averages, revival, gradients, usage.

Everything here is of one codebook, [k, d], and vectors [v, d]; `jax.vmap` makes it several. Weights
[v] say how much a vector counts in the statistics: 0 for padding. Sums over vectors are sums over
the whole batch, whatever devices it lies on, so that statistics are the same on any mesh.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.types import Scalar

Array = jax.Array

TINY = 1e-12
# A tile of scores, rows times codes, that stays in the cache of a CPU's core.
TILE = 2**19
# Symbols of which counts are kept.
TRACKED = 2**16


def unit(x: Array) -> Array:
  """Scales vectors to length 1; a vector of zeros stays.

  Args:
    x: [..., d].

  Returns:
    [..., d].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import unit
    >>> unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])).round(1).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
  """
  # Under the root, so that the gradient at 0 is no NaN.
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(x), -1, keepdims=True), TINY))


def nearest(x: Array, codebook: Array) -> Array:
  """Finds the nearest code of each vector, the first of several; no gradient passes.

  Formula: argmin_j |x - e_j|^2 = argmax_j x e_j - |e_j|^2 / 2. On a CPU in tiles of rows whose
  scores stay in the cache, with the largest score and its place found by two plain reductions: an
  arg max over a large array costs five times as much there.

  Args:
    x: [v, d].
    codebook: [k, d].

  Returns:
    [v] int32. Of a vector that is not finite, some code.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import nearest
    >>> nearest(jnp.array([[0.9], [-3.0]]), jnp.array([[0.0], [1.0]])).tolist()
    [1, 0]
  """
  x, codebook = jax.lax.stop_gradient((x, codebook))
  v, k = x.shape[0], codebook.shape[0]
  half = 0.5 * jnp.sum(jnp.square(codebook), axis=-1)

  def best(rows: Array) -> Array:
    score = rows @ codebook.T - half
    top = jnp.max(score, axis=-1, keepdims=True)
    place = jax.lax.broadcasted_iota(jnp.int32, score.shape, score.ndim - 1)
    return jnp.minimum(jnp.min(jnp.where(score == top, place, k), axis=-1), k - 1)

  def whole(x: Array) -> Array:
    return jnp.argmax(x @ codebook.T - half, axis=-1).astype(jnp.int32)

  def tiled(x: Array) -> Array:
    parts = -(-v * k // TILE)
    size = -(-v // parts)
    x = jnp.pad(x, ((0, parts * size - v), (0, 0)))
    # Rows j, j + parts, ...: each device's rows stay on it.
    rows = jnp.swapaxes(x.reshape(size, parts, -1), 0, 1)
    return jnp.swapaxes(jax.lax.map(best, rows), 0, 1).reshape(-1)[:v]

  if v * k <= TILE:
    return best(x)
  return jax.lax.platform_dependent(x, cpu=tiled, default=whole)


def squared_distance(x: Array, q: Array) -> Array:
  """Squared distance of vectors, from their difference.

  Args:
    x: [..., d].
    q: [..., d].

  Returns:
    [...].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import squared_distance
    >>> float(squared_distance(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])))
    4.0
  """
  return jnp.sum(jnp.square(x - q), axis=-1)


def tally(index: Array, x: Array, codes: int, weights: Array) -> tuple[Array, Array]:
  """Counts the vectors of each code, and adds them up.

  Args:
    index: [v] int32, the code of each vector.
    x: [v, d].
    codes: k, how many there are.
    weights: [v] >= 0; a vector of weight 0 is not looked at.

  Returns:
    (counts [k], sums [k, d]).

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import tally
    >>> counts, sums = tally(jnp.array([1, 1]), jnp.array([[2.0], [3.0]]), 2, jnp.ones(2))
    >>> counts.tolist(), sums.tolist()
    ([0.0, 2.0], [[0.0], [5.0]])
  """
  x, weights = jax.lax.stop_gradient((x, weights))
  weighted = jnp.where(weights[:, None] > 0, x * weights[:, None], 0.0)
  counts = jax.ops.segment_sum(weights.astype(jnp.float32), index, codes)
  return counts, jax.ops.segment_sum(weighted, index, codes)


def average(old: Array, new: Array, decay: Scalar) -> Array:
  """One step of an exponential moving average.

  Args:
    old: the average so far.
    new: what came now.
    decay: in [0, 1).

  Returns:
    decay old + (1 - decay) new.

  Example:
    >>> from ibjax.bottlenecks.codebooks import average
    >>> average(1.0, 3.0, 0.5)
    2.0
  """
  return decay * old + (1.0 - decay) * new


def centres(codebook: Array, counts: Array, sums: Array) -> Array:
  """The codes that moving counts and sums stand for.

  Formula: e_j = M_j / N_j. Counts and sums of a code that nothing meets decay alike, so it stays
  where it is; where N_j is nothing it is kept. (Published codes smooth N_j, which draws such codes
  towards 0.)

  Args:
    codebook: [k, d], the codes so far.
    counts: N, [k].
    sums: M, [k, d].

  Returns:
    [k, d].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import centres
    >>> centres(jnp.full((2, 1), 7.0), jnp.array([2.0, 0.0]), jnp.array([[3.0], [0.0]])).tolist()
    [[1.5], [7.0]]

  Source: van den Oord et al. 2017 (arXiv:1711.00937), appendix A.1, eqs. 6 to 8.
  """
  alive = counts[:, None] > TINY
  return jnp.where(alive, sums / jnp.where(alive, counts[:, None], 1.0), codebook)


def revive(
  key: Array,
  codebook: Array,
  dead: Array,
  x: Array,
  error: Array,
  weights: Array,
) -> tuple[Array, Array]:
  """Puts dead codes where the others leave the largest errors.

  Formula: dead codes become vectors of the batch, different ones, drawn with probability
  proportional to weight times squared error, as k-means++ draws its next centre (Gumbel top-k).

  Args:
    key: of the draw.
    codebook: [k, d].
    dead: [k] bool.
    x: [v, d].
    error: [v], squared distance of each to its code.
    weights: [v] >= 0.

  Returns:
    (codebook [k, d], [k] bool, which codes were moved). Where more codes are dead than there are
    vectors, vectors are taken several times; where nothing is left to improve they stay.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import revive
    >>> dead, x = jnp.array([False, True]), jnp.array([[1.0], [9.0]])
    >>> error = jnp.array([0.0, 4.0])
    >>> found, moved = revive(jax.random.key(0), jnp.zeros((2, 1)), dead, x, error, jnp.ones(2))
    >>> found.tolist(), moved.tolist()
    ([[0.0], [9.0]], [False, True])

  Source: the draw of Arthur and Vassilvitskii 2007; of several at once by Efraimidis and Spirakis
  2006.
  """
  k, v = codebook.shape[0], x.shape[0]
  chance = jnp.where(weights > 0, weights * error, 0.0)
  score = jnp.log(chance) + _gumbel(key, chance.shape)
  score = jnp.where(jnp.isfinite(score), score, -jnp.inf)
  top, rows = jax.lax.top_k(score, min(k, v))
  order = (jnp.cumsum(dead) - 1) % rows.shape[0]
  useful = dead & (top[order] > -jnp.inf)
  return jnp.where(useful[:, None], x[rows[order]], codebook), useful


def _gumbel(key: Array, shape: tuple[int, ...]) -> Array:
  uniform = rng.uniform(key, shape) + 2.0**-24  # in (0, 1)
  return -jnp.log(-jnp.log(uniform))


def straight_through(x: Array, q: Array) -> Array:
  """The value of the code with the gradient of the vector: dq/dx = I.

  Args:
    x: [..., d], what was quantised.
    q: [..., d], its code.

  Returns:
    [..., d], q (to rounding); NaN where x is.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import straight_through
    >>> float(jax.grad(lambda x: 3.0 * straight_through(x, jnp.round(x)))(0.9))
    3.0

  Source: Bengio et al. 2013 (arXiv:1308.3432), section 4.
  """
  return x + jax.lax.stop_gradient(q - x)


def rotation(x: Array, q: Array) -> Array:
  """The value of the code, with the gradient of the rotation and scaling that takes x to it.

  Formula: q = s R x, s = |q| / |x|, R = I - 2 r r^T + 2 v u^T with u = x / |x|, v = q / |q| and
  r = (u + v) / |u + v|; s and R are constants of the gradient, which is s R^T g. Where u = -v or
  a vector is 0 there is no such rotation, and the gradient passes straight through.

  Args:
    x: [..., d], what was quantised.
    q: [..., d], its code.

  Returns:
    [..., d], q (to rounding); NaN where x is.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import rotation
    >>> x, q = jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])  # a quarter turn, twice as long
    >>> jax.grad(lambda x: rotation(x, q)[1])(x).tolist()
    [2.0, 0.0]

  Source: Fifty et al. 2024 (arXiv:2410.06424), section 4.2.
  """
  fixed, code = jax.lax.stop_gradient((x, q))
  u, v = unit(fixed), unit(code)
  both = jnp.sum(jnp.square(fixed), -1, keepdims=True) * jnp.sum(
    jnp.square(code), -1, keepdims=True
  )
  cosine = jnp.sum(u * v, axis=-1, keepdims=True)
  # |u + v|^2 = 2 (1 + cos).
  turns = (both > TINY**2) & (1.0 + cosine > 1e-6)
  scale = jnp.linalg.norm(code, axis=-1, keepdims=True) / jnp.maximum(
    jnp.linalg.norm(fixed, axis=-1, keepdims=True), TINY
  )
  middle = u + v
  along = jnp.sum(x * middle, axis=-1, keepdims=True) / jnp.where(turns, 1.0 + cosine, 1.0)
  turned = scale * (x - along * middle + 2.0 * jnp.sum(x * u, axis=-1, keepdims=True) * v)
  moved = jnp.where(turns, turned, x)
  return moved + jax.lax.stop_gradient(q - moved)


def usage(counts: Array) -> dict[str, Array]:
  """What is reported of codebooks: perplexity, the share of codes in use, how many are not.

  Formula: perplexity exp(-sum_j p_j log p_j), p_j = N_j / sum N, averaged over codebooks. It is k
  where all codes are used alike, 1 where one is used. Codebooks that met nothing are left out.

  Args:
    counts: [..., k] of each code in a batch, of one codebook or several.

  Returns:
    {"code_perplexity", "code_usage_frac", "dead_codes"}, float32 scalars; the last a sum over
    codebooks.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import usage
    >>> counts = jnp.array([1.0, 1.0, 0.0])
    >>> {k: round(float(v), 4) for k, v in usage(counts).items()}
    {'code_perplexity': 2.0, 'code_usage_frac': 0.6667, 'dead_codes': 1.0}
    >>> cut = jnp.stack([counts, jnp.zeros(3)])  # the second codebook was not asked
    >>> round(float(usage(cut)["code_perplexity"]), 4)
    2.0
  """
  share = counts / jnp.maximum(jnp.sum(counts, axis=-1, keepdims=True), TINY)
  entropy = -jnp.sum(share * jnp.log(jnp.where(share > 0, share, 1.0)), axis=-1)
  # A layer that dropout has cut met nothing, and is no codebook that has collapsed.
  met = jnp.sum(counts, axis=-1) > 0
  some = jnp.maximum(jnp.sum(met, dtype=jnp.float32), 1.0)
  used_frac = jnp.mean(counts > 0, axis=-1, dtype=jnp.float32)
  return {
    "code_perplexity": jnp.sum(jnp.where(met, jnp.exp(entropy), 0.0), dtype=jnp.float32) / some,
    "code_usage_frac": jnp.sum(used_frac) / some,
    "dead_codes": jnp.sum((counts == 0) & met[..., None], dtype=jnp.float32),
  }


def used(index: Array, codes: int, weights: Array) -> dict[str, Array]:
  """What is reported of a batch's symbols, see `usage`; nothing of very large alphabets.

  Args:
    index: [groups, v] int32, the symbol of each vector.
    codes: k, the size of the alphabet.
    weights: [groups, v], 0 for a vector that does not count.

  Returns:
    As `usage`; {} where there are more than `TRACKED` symbols.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebooks import used
    >>> float(used(jnp.array([[0, 3]]), 4, jnp.ones((1, 2)))["code_usage_frac"])
    0.5
  """
  if codes > TRACKED:
    return {}
  counts = jax.vmap(lambda i, w: jax.ops.segment_sum(w, i, codes))(index, weights)
  return usage(counts)
