"""A codebook that starts from the data: k-means from k-means++ seeds, the best of several starts.

Source: Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding" (SODA).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.codebooks import TINY, centres, nearest, squared_distance, tally, unit
from ibjax.core import rng

Array = jax.Array


def plus_plus(key: Array, x: Array, codes: int, weights: Array, candidates: int = 0) -> Array:
  """Draws seeds far from each other, greedily.

  Formula: the first seed is a vector at random; each next one the best of `candidates` vectors,
  each drawn with probability proportional to w_i D_i^2, D_i the distance to the nearest seed; the
  best leaves the least sum w D^2. Draws are by Gumbel noise at each vector's place, so that they
  are the same however the vectors lie over devices.

  Args:
    key: of the draws.
    x: [v, d], finite.
    codes: k, how many seeds.
    weights: [v] >= 0.
    candidates: drawn for each seed; 0 takes 2 + floor(log k).

  Returns:
    [k, d], rows of x; where there are fewer different vectors than seeds, some more than once.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.kmeans import plus_plus
    >>> x = jnp.array([[0.0], [0.1], [5.0]])
    >>> sorted(plus_plus(jax.random.key(0), x, 2, jnp.ones(3)).round().ravel().tolist())
    [0.0, 5.0]

  Source: Arthur and Vassilvitskii 2007, section 2.2; the greedy draw is of their section 7.
  """
  candidates = candidates or 2 + int(math.log(codes))
  square = jnp.sum(jnp.square(x), axis=-1)

  def distance(seeds: Array) -> Array:
    found = square - 2.0 * seeds @ x.T + jnp.sum(jnp.square(seeds), axis=-1, keepdims=True)
    return jnp.maximum(found, 0.0)

  def draw(number: int | Array, chance: Array) -> Array:
    shape = (candidates, x.shape[0])
    uniform = rng.uniform(rng.stream(key, "seeds", number), shape) + 2.0**-24
    return jnp.argmax(jnp.log(chance) - jnp.log(-jnp.log(uniform)), axis=-1)

  def step(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
    seeds, near = carry
    picked = x[draw(number, weights * near)]
    left = jnp.minimum(near, distance(picked))
    best = jnp.argmin(jnp.sum(weights * left, axis=-1))
    return seeds.at[number].set(picked[best]), left[best]

  first = x[draw(0, weights)[0]]
  seeds = jnp.zeros((codes, x.shape[1]), x.dtype).at[0].set(first)
  return jax.lax.fori_loop(1, codes, step, (seeds, distance(first[None])[0]))[0]


def kmeans(
  key: Array,
  x: Array,
  codes: int,
  weights: Array,
  restarts: int = 4,
  iterations: int = 10,
  spherical: bool = False,
) -> tuple[Array, Array, Array]:
  """Fits a codebook to vectors, with the counts and sums that belong to it.

  Formula: `restarts` times k-means++ seeds and so many Lloyd iterations e_j <- mean of the vectors
  nearest to it; the start with the least sum of w |x - e|^2 is kept.

  Counts and sums are those of the vectors by the codes returned: a moving average that goes on
  from them keeps the codes where they are, as one that began at zero would not.

  Args:
    key: of the seeds.
    x: [v, d]; vectors of weight 0 may be anything.
    codes: k, how many codes.
    weights: [v] >= 0.
    restarts: starts, of which the best is kept.
    iterations: of Lloyd's algorithm.
    spherical: codes of length 1, for vectors of length 1.

  Returns:
    (codebook [k, d], counts [k], sums [k, d]), with codebook = sums / counts, scaled to length 1
    if spherical, wherever a count is not 0.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.kmeans import kmeans
    >>> x = jnp.array([[0.0], [1.0], [8.0], [9.0]])
    >>> codebook, counts, _ = kmeans(jax.random.key(0), x, 2, jnp.ones(4))
    >>> sorted(codebook.ravel().tolist()), counts.tolist()
    ([0.5, 8.5], [2.0, 2.0])

  Source: Arthur and Vassilvitskii 2007; Lloyd 1982, "Least squares quantization in PCM".
  """
  x = jnp.where(weights[:, None] > 0, x, 0.0)
  # Squared distances by products of matrices lose small differences far from the origin.
  centre = jnp.sum(weights[:, None] * x, axis=0) / jnp.maximum(jnp.sum(weights), TINY)
  centre = jnp.zeros_like(centre) if spherical else centre
  x = x - centre

  def lloyd(_, codebook: Array) -> Array:
    moved = centres(codebook, *tally(nearest(x, codebook), x, codes, weights))
    return unit(moved) if spherical else moved

  def fit(key: Array) -> tuple[Array, Array]:
    codebook = plus_plus(key, x, codes, weights)
    codebook = jax.lax.fori_loop(0, iterations, lloyd, codebook)
    error = squared_distance(x, codebook[nearest(x, codebook)])
    return codebook, jnp.sum(weights * error)

  keys = jax.vmap(lambda number: rng.stream(key, "restart", number))(jnp.arange(restarts))
  codebooks, errors = jax.lax.map(fit, keys)
  codebook = codebooks[jnp.argmin(errors)]
  counts, sums = tally(nearest(x, codebook), x, codes, weights)
  moved = centres(codebook, counts, sums)
  sums = sums + counts[:, None] * centre
  return (unit(moved) if spherical else moved + centre), counts, sums
