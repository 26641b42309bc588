"""Keys of several heads learned from data: seeding by k-means++, moving averages, revival.

Counts and sums are averages per row, so that they do not depend on the size of a batch, and every
operation here keeps `sums = counts * keys`: then the next update moves a key by what it saw, and
by nothing else.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array
Keys = dict[str, Array]  # "keys" [c, j, d], "counts" [c, j], "sums" [c, j, d]


def consistent(keys: Array) -> Keys:
  """Averages that belong to given keys: each has had its even share of the rows, all at the key.

  Args:
    keys: [c, j, d] of c heads.

  Returns:
    {"keys", "counts" [c, j], "sums" [c, j, d]}; counts sum to 1 over the keys of a head.
  """
  counts = jnp.full(keys.shape[:2], 1.0 / keys.shape[1])
  return {"keys": keys, "counts": counts, "sums": counts[..., None] * keys}


def squared_distances(rows: Array, keys: Array) -> Array:
  """Squared distances less the rows' own squares, which do not change which key is nearest.

  Formula: ||k||^2 - 2 r . k.

  Args:
    rows: [n, c, d].
    keys: [c, j, d].

  Returns:
    [n, c, j] float32.
  """
  products = jnp.einsum("ncd,cjd->ncj", rows, keys, preferred_element_type=jnp.float32)
  return jnp.sum(jnp.square(keys), axis=-1) - 2.0 * products


def seed_keys(rows: Array, number: int, key: Array) -> Array:
  """Chooses rows as keys by k-means++, for every head by itself.

  Formula: the first row is drawn evenly, each further one with probability proportional to its
  squared distance to the nearest row chosen so far. Where all rows are chosen already (they repeat)
  the draw is even.

  Args:
    rows: [n, c, d] float32.
    number: of keys, at most n.
    key: of the draws.

  Returns:
    [c, number, d], each a row of its head.

  Source: Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding", section
  2.2.
  """
  rows = jnp.swapaxes(rows, 0, 1)

  def one(rows, key):
    n = rows.shape[0]
    # Centred, so that squares of a common offset do not eat the digits of the differences.
    rows_0 = rows - jnp.mean(rows, axis=0)

    def choose(nearest, key):
      drawn = jnp.any(nearest > 0.0) & jnp.isfinite(nearest)  # infinite before the first
      logits = jnp.where(drawn, jnp.log(nearest), 0.0)
      chosen = jax.random.categorical(key, logits)
      away = jnp.sum(jnp.square(rows_0 - rows_0[chosen]), axis=-1)
      return jnp.minimum(nearest, away), chosen

    _, chosen = jax.lax.scan(choose, jnp.full(n, jnp.inf), jax.random.split(key, number))
    return rows[chosen]

  return jax.vmap(one)(rows, jax.random.split(key, rows.shape[0]))


def learn(state: Keys, rows: Array, nearest: Array, decay, expiry, key: Array) -> Keys:
  """Moves keys to the moving average of the rows they were nearest to, and revives dead ones.

  Formula: N <- g N + (1 - g) n / B; M <- g M + (1 - g) s / B; k = M / N where n > 0, with n the
  number and s the sum of the rows nearest to the key. A key with N < expiry / J becomes a row of
  the batch, another for each, with N = 1 / J and M = N k.

  Args:
    state: {"keys" [c, j, d], "counts" [c, j], "sums" [c, j, d]}.
    rows: [b, c, d] float32.
    nearest: [b, c] index of each row's nearest key.
    decay: g in [0, 1); may be traced.
    expiry: in [0, 1), in units of the even share; 0 revives none; may be traced.
    key: of the draw of rows for dead keys.

  Returns:
    The state after the batch.
  """
  heads, number, _ = state["keys"].shape
  total = rows.shape[0]
  head = jnp.arange(heads)[None]
  hits = jnp.zeros((heads, number)).at[head, nearest].add(1.0)
  sums = jnp.zeros(state["sums"].shape).at[head, nearest].add(rows)
  counts = decay * state["counts"] + (1.0 - decay) * hits / total
  sums = decay * state["sums"] + (1.0 - decay) * sums / total
  # A key that was not hit stays where it is, exactly: M / N of it is a rounding away.
  keys = jnp.where(
    (hits > 0)[..., None], sums / jnp.maximum(counts, 1e-30)[..., None], state["keys"]
  )
  # The r-th dead key of a head takes the r-th row of a random order; keys beyond wait for a batch,
  # since two keys at one place are one key.
  order = jnp.argsort(jax.random.uniform(key, (heads, total)), axis=-1)
  dead = counts < expiry / number
  rank = jnp.cumsum(dead, axis=-1) - 1
  dead = dead & (rank < total)
  taken = jnp.take_along_axis(order, jnp.clip(rank, 0, total - 1), axis=-1)
  fresh = consistent(rows[taken, jnp.arange(heads)[:, None]])
  return {
    "keys": jnp.where(dead[..., None], fresh["keys"], keys),
    "counts": jnp.where(dead, fresh["counts"], counts),
    "sums": jnp.where(dead[..., None], fresh["sums"], sums),
  }
