"""A bottleneck of codebooks: several side by side (heads) and one after another (residual).

`vq` and `residual_vq` are this with their own keywords. Inside, features [n, positions * heads *
d] are [groups, vectors, d]: a group is what one codebook serves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ibjax.bottlenecks import codebooks, kmeans
from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Code, Scalar, Tree

Array = jax.Array

LEARNED_BY = ("ema", "loss")
GRADIENTS = {"straight_through": codebooks.straight_through, "rotation": codebooks.rotation}
METRICS = ("euclidean", "cosine")
STARTS = ("kmeans", "normal")


class Layout(NamedTuple):
  """How features are cut into vectors.

  Attributes:
    positions: of an example, which share all codebooks.
    heads: vectors at a position.
    width: d, of a vector.
    shared: whether the heads share a codebook.
  """

  positions: int
  heads: int
  width: int
  shared: bool

  @property
  def groups(self) -> int:
    """How many codebooks lie side by side."""
    return 1 if self.shared else self.heads

  def split(self, features: Array) -> Array:
    """[n, positions * heads * d, ...] to [groups, vectors, d]."""
    cut = features.reshape(-1, self.positions, self.heads, self.width)
    return jnp.moveaxis(cut, 2, 0).reshape(self.groups, -1, self.width)

  def spread(self, rows: Array) -> Array:
    """[n] to [groups, vectors]: what is of an example, for each of its vectors."""
    each = jnp.broadcast_to(rows[:, None, None], (rows.shape[0], self.positions, self.heads))
    return jnp.moveaxis(each, 2, 0).reshape(self.groups, -1)

  def weights(self, x: Array, mask: Array | None) -> Array:
    """[groups, vectors]: 1 where a vector [groups, vectors, d] is finite and its example counts."""
    finite = jnp.all(jnp.isfinite(x), axis=-1)
    counts = finite if mask is None else finite & self.spread(mask)
    return counts.astype(jnp.float32)

  def per_example(self, values: Array) -> Array:
    """[groups, vectors, ...] to [n, positions, heads, ...]."""
    cut = values.reshape(self.heads, -1, self.positions, *values.shape[2:])
    return jnp.moveaxis(cut, 0, 2)


def layout(name: str, dim: int, positions: int, heads: int, shared: bool = False) -> Layout:
  """Cuts a width into positions and heads, or says that it does not divide.

  Args:
    name: of the bottleneck, for the message.
    dim: width of the code.
    positions: of an example.
    heads: vectors at a position.
    shared: whether the heads share a codebook.

  Returns:
    A `Layout`.

  Raises:
    InputError: a size below 1, or a width that is no multiple of positions * heads.

  Example:
    >>> from ibjax.bottlenecks.quantiser import layout
    >>> layout("vq", 12, 3, 2).width
    2
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("positions", positions, 1)
  checks.at_least("heads", heads, 1)
  if dim % (positions * heads):
    low = dim - dim % (positions * heads)
    near = f"{low} or {low + positions * heads}" if low else f"{positions * heads}"
    raise InputError(
      f"{name} cuts a code of dim={dim} into {positions} positions of {heads} heads, which does "
      f"not divide. Use dim={near}, or other heads."
    )
  return Layout(positions, heads, dim // (positions * heads), shared)


def quantiser(
  name: str,
  cut: Layout,
  codes: int,
  depth: int,
  learn: str,
  decay: Scalar,
  gradient: str,
  metric: str,
  start: str,
  restarts: int,
  expire_below: Scalar,
  dropout: Scalar,
) -> Bottleneck:
  """Builds the bottleneck; `vq` and `residual_vq` describe the keywords.

  Args:
    name: of the method, for messages.
    cut: how features are cut into vectors.
    codes: k, of each codebook.
    depth: codebooks one after another, each of what the ones before leave.
    learn: "ema" or "loss".
    decay: of the moving averages, in [0, 1).
    gradient: "straight_through" or "rotation".
    metric: "euclidean" or "cosine", the latter of depth 1.
    start: "kmeans" or "normal".
    restarts: of k-means.
    expire_below: of an even share of the vectors; 0 lets codes lie dead.
    dropout: probability that a batch of training is cut to a depth drawn from 1..depth.

  Returns:
    A `Bottleneck`.

  Raises:
    InputError: a setting out of range; where it settles, fewer vectors than codes.
  """
  _check(codes, depth, learn, decay, gradient, metric, start, restarts, expire_below, dropout)
  spherical = metric == "cosine"
  moving = learn == "ema"
  dim = cut.positions * cut.heads * cut.width
  shape = (depth, cut.groups, codes)
  bits = cut.positions * cut.heads * math.log2(codes)

  def init(key):
    drawn = rng.normal(rng.stream(key, "codebook"), (*shape, cut.width))
    codebook = codebooks.unit(drawn) if spherical else drawn
    counts = jnp.ones(shape)  # in even shares
    metrics = codebooks.usage(counts) | {"code_bits": jnp.float32(depth * bits)}
    state = {"counts": counts, "started": jnp.int32(start == "normal"), "metrics": metrics}
    if moving:
      return {}, {**state, "codebook": codebook, "sums": codebook}
    return {"codebook": codebook}, state

  def vectors(features: Array, mask: Array | None = None) -> tuple[Array, Array]:
    x = cut.split(features.astype(jnp.float32))
    x = codebooks.unit(x) if spherical else x
    return x, cut.weights(x, mask)

  def read(params: Tree, state: Tree) -> Array:
    """The codebooks [depth, groups, k, d]; gradients leave those of a cosine at any length."""
    books = (state if moving else params)["codebook"]
    return codebooks.unit(books) if spherical else books

  def shares(counts: Array, weights: Array) -> Array:
    """Counts, or sums, over what a code would have if all were used alike."""
    even = jnp.sum(weights, axis=-1) / codes
    return counts / jnp.maximum(even, codebooks.TINY).reshape(-1, *[1] * (counts.ndim - 1))

  def lifted(key, layer, error, x, weights):
    """One layer's arrays with its dead codes at large errors, where they count as even ones."""
    dead = layer["counts"] < expire_below

    def renew(layer):
      keys = jax.vmap(lambda i: rng.stream(key, "revive", i))(jnp.arange(cut.groups))
      found = jax.vmap(codebooks.revive)(keys, layer["codebook"], dead, x, error, weights)
      book, moved = found
      new = {**layer, "codebook": book, "counts": jnp.where(moved, 1.0, layer["counts"])}
      if moving:
        new["sums"] = jnp.where(moved[..., None], book, layer["sums"])
      return new

    return jax.lax.cond(jnp.any(dead), renew, lambda layer: layer, layer)

  def apply(params, state, features, *, key, train, mask=None):
    checks.shape("features", features, (None, dim))
    books = read(params, state)
    x, weights = vectors(features, mask)
    kept = _depth(key, depth, dropout) if train and depth > 1 else depth
    total, rest = jnp.zeros_like(x), x
    commitment = learning = jnp.zeros(x.shape[:2])
    index, layers, hits, expired = [], [], [], []
    for r in range(depth):
      on = r < kept
      found = jax.vmap(codebooks.nearest)(rest, books[r])
      q = jnp.take_along_axis(books[r], found[..., None], axis=1)
      fixed, target = jax.lax.stop_gradient((q, rest))
      commitment += jnp.where(on, codebooks.squared_distance(rest, fixed), 0.0)
      if not moving:
        learning += jnp.where(on, codebooks.squared_distance(target, q), 0.0)
      counts, sums = jax.vmap(codebooks.tally, (0, 0, None, 0))(found, target, codes, weights)
      hits.append(jnp.where(on, counts, 0.0))
      if train:
        own = {name: state[name][r] for name in ("counts", "sums", "codebook") if name in state}
        new, dead = learned(own, shares(counts, weights), shares(sums, weights))
        if moving:
          error = codebooks.squared_distance(target, fixed)
          new = lifted(rng.stream(key, "bottleneck", r), new, error, target, weights)
        layers.append(jax.tree.map(lambda a, b, on=on: jnp.where(on, a, b), new, own))
        expired.append(on & dead)
      total += jnp.where(on, fixed, 0.0)
      rest -= jnp.where(on, fixed, 0.0)
      index.append(jnp.where(on, found, -1))
    if train:
      state = {**state, **{n: jnp.stack([layer[n] for layer in layers]) for n in layers[0]}}
    n = features.shape[0]
    stored = jnp.full(n, bits * kept, jnp.float32)
    metrics = codebooks.usage(jnp.stack(hits)) | {"code_bits": stored[0]}
    if train:  # before they were moved: what is measured is what was wrong
      metrics["dead_codes"] = jnp.sum(jnp.stack(expired), dtype=jnp.float32)
    indices = jnp.stack(index, axis=-1)
    aux = {
      "indices": cut.per_example(indices).reshape(n, -1),
      "alphabet": jnp.full(n, codes, jnp.int32),
      "commitment": jnp.sum(cut.per_example(commitment), axis=(1, 2)),
    }
    if not moving:
      aux["codebook"] = jnp.sum(cut.per_example(learning), axis=(1, 2))
    value = cut.per_example(GRADIENTS[gradient](x, total)).reshape(n, dim)
    return Code(value, stored * math.log(2.0), stored, aux), {**state, "metrics": metrics}

  def learned(own, counts, sums):
    """One layer's moving averages after a batch, and which codes have died."""
    new = {"counts": codebooks.average(own["counts"], counts, decay)}
    if moving:
      new["sums"] = codebooks.average(own["sums"], sums, decay)
      book = jax.vmap(codebooks.centres)(own["codebook"], new["counts"], new["sums"])
      new["codebook"] = codebooks.unit(book) if spherical else book
    return new, new["counts"] < expire_below

  def settle(params, state, features, key):
    x, weights = vectors(features)
    if start == "kmeans" and x.shape[1] < codes:
      raise InputError(
        f"{name} starts its codebook of {codes} codes from a batch, which gives it "
        f"{x.shape[1]} vectors. Use a larger config.data.batch_size, fewer codes, or "
        "start='normal'."
      )

    def begin(params, state):
      rest, found = x, []
      for r in range(depth):
        keys = jax.vmap(lambda i, r=r: rng.stream(key, "kmeans", r, i))(jnp.arange(cut.groups))

        def fit(key, rest, weights):
          return kmeans.kmeans(key, rest, codes, weights, restarts, spherical=spherical)

        found.append(jax.vmap(fit)(keys, rest, weights))
        book = found[-1][0]
        index = jax.vmap(codebooks.nearest)(rest, book)
        rest = rest - jnp.take_along_axis(book, index[..., None], axis=1)
      books = jnp.stack([book for book, _, _ in found])
      counts = jnp.stack([shares(counts, weights) for _, counts, _ in found])
      sums = jnp.stack([shares(sums, weights) for _, _, sums in found])
      state = {**state, "counts": counts, "started": jnp.int32(1)}
      if moving:
        return params, {**state, "codebook": books, "sums": sums}
      return {"codebook": books}, state

    def go_on(params, state):
      rest, layers = x, []
      for r in range(depth):
        book = read(params, state)[r]
        index = jax.vmap(codebooks.nearest)(rest, book)
        q = jnp.take_along_axis(book, index[..., None], axis=1)
        layer = {"codebook": book, "counts": state["counts"][r]}
        error = codebooks.squared_distance(rest, q)
        layers.append(lifted(rng.stream(key, "expire", r), layer, error, rest, weights))
        rest = rest - q
      metrics = {**state["metrics"], "dead_codes": jnp.float32(0.0)}
      counts = jnp.stack([layer["counts"] for layer in layers])
      return {"codebook": jnp.stack([layer["codebook"] for layer in layers])}, {
        **state,
        "counts": counts,
        "metrics": metrics,
      }

    if moving:
      return begin(params, state)
    if start == "normal":
      return go_on(params, state)
    return jax.lax.cond(state["started"] > 0, go_on, begin, params, state)

  def due(state):
    waiting = state["started"] == 0
    if moving:
      return waiting
    return waiting | (state["metrics"]["dead_codes"] > 0)

  settles = start == "kmeans" or (not moving and _may_be_positive(expire_below))
  plain = Bottleneck(dim, init, apply, masks=True)
  return plain._replace(settle=settle, due=due) if settles else plain


def _may_be_positive(value: Scalar) -> bool:
  return not checks.is_concrete(value) or float(value) > 0


def _depth(key: Array, depth: int, dropout: Scalar) -> Array:
  """How many layers a batch keeps."""
  key = rng.stream(key, "depth")
  some = jax.random.randint(rng.stream(key, "kept"), (), 1, depth + 1)
  return jnp.where(rng.uniform(rng.stream(key, "cut"), ()) < dropout, some, depth)


def _check(codes, depth, learn, decay, gradient, metric, start, restarts, below, dropout) -> None:
  checks.at_least("codes", codes, 2)
  checks.at_least("depth", depth, 1)
  checks.one_of("learn", learn, LEARNED_BY)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  checks.one_of("gradient", gradient, tuple(GRADIENTS))
  checks.one_of("metric", metric, METRICS)
  checks.one_of("start", start, STARTS)
  checks.at_least("restarts", restarts, 1)
  checks.between("expire_below", below, 0.0, 1.0, open_high=True)
  checks.between("dropout", dropout, 0.0, 1.0)
