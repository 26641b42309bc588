"""Bringing dead latents back: auxiliary losses on them, and sampling them anew.

Sources: Gao et al. 2024 (arXiv:2406.04093), the auxiliary loss of the k largest dead latents;
arXiv:2411.02124, its extension to latents that are too rare, after the abstract;
ghost gradients of Jermyn and Templeton 2024 (Transformer Circuits, updates of January 2024);
resampling of Bricken et al. 2023, "Towards monosemanticity". The last two as recalled from these
reports.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.codebooks import revive
from ibjax.bottlenecks.sparse.linear import decode_at, encode_at
from ibjax.bottlenecks.sparse.selection import top_k
from ibjax.core import rng
from ibjax.core.types import Scalar, Tree

Array = jax.Array

KINDS = ("none", "aux_k", "aux_zipf", "ghost", "resample")
ENCODER_SHARE = 0.2  # length of a sampled encoder row, in mean lengths of the living


def error(shared: Any, params: Tree, x: Array, value: Array, scores: Array, among: Array) -> Array:
  """The auxiliary error that moves dead latents, in the unit of the squared error.

  Formula: "aux_k": s |e - sum_{j in top} relu(a_j) W_dec,j|^2, e = x - value without gradient, over
  the `aux_k` dead latents of the largest pre-activations a, and s = E|x - E x|^2 / E|e - E e|^2
  without gradient: relative to its own variance, the residual's error weighs as much as the
  reconstruction's. "aux_zipf": the same over the latents that are too rare (`rare`). "ghost": as
  `_ghost`. Zero while there is no such latent, and for the other kinds.

  Args:
    shared: the dictionary's keywords: revival, aux_k (0 takes half the width), mesh.
    params: of the dictionary.
    x: [n, dim].
    value: [n, dim] the reconstruction.
    scores: [n, latents] pre-activations, without gradient.
    among: [latents] bool, which latents to revive.

  Returns:
    [n].
  """
  if shared.revival not in ("aux_k", "aux_zipf", "ghost"):
    return jnp.zeros(x.shape[0])
  residual = jax.lax.stop_gradient(x - value)

  def revive(params, x, residual, scores):
    if shared.revival == "ghost":
      return _ghost(params, x, residual, among)
    k = shared.aux_k or max(1, shared.dim // 2)
    return aux_k(params, x, residual, scores, among, min(k, shared.latents), shared.mesh)

  def rest(params, x, residual, scores):
    return jnp.zeros(x.shape[0])

  return jax.lax.cond(jnp.any(among), revive, rest, params, x, residual, scores)


def aux_k(
  params: Tree, x: Array, residual: Array, scores: Array, among: Array, k: int, mesh: Any = None
) -> Array:
  """How well some latents reconstruct what the others leave.

  Formula: s |e - sum_{j in top} relu(a_j) W_dec,j|^2, see `error`. Gradients reach encoder, bias
  and decoder exactly.

  Args:
    params: of the dictionary.
    x: [n, dim].
    residual: [n, dim], without gradient.
    scores: [n, latents] pre-activations, without gradient.
    among: [latents] bool, the latents to choose from.
    k: how many of them an example uses.
    mesh: the device mesh; None for one device.

  Returns:
    [n].
  """
  values, indices = top_k(jnp.where(among, scores, -jnp.inf), k, mesh)
  chosen = jnp.isfinite(values)  # fewer than k may be there
  values = jnp.where(chosen, values, 0.0)
  given = encode_at(values, indices, x - params["b_dec"], params["W_enc"], params["b_enc"], mesh)
  active = jnp.where(chosen, jax.nn.relu(given), 0.0)
  left = residual - decode_at(active, indices, params["W_dec"], mesh)
  scale = variance(x) / jnp.maximum(variance(residual), 1e-12)
  return jax.lax.stop_gradient(scale) * jnp.sum(jnp.square(left), axis=-1)


def rare(density: Array, exponent: Scalar, shift: Scalar) -> Array:
  """Which latents are active less often than a Zipf law expects at their rank.

  Formula: expected_r = sum(density) (r + 1 + shift)^-exponent / sum_r (r + 1 + shift)^-exponent,
  r = 0 for the latent that is active most; those below the expected density of their own rank.

  Args:
    density: [latents] in which share of the examples each is active.
    exponent: of the law.
    shift: of the rank, > -1.

  Returns:
    [latents] bool.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.revival import rare
    >>> rare(jnp.array([0.0, 0.3, 0.9]), 1.0, 0.0).tolist()
    [True, True, False]
  """
  rank = jnp.argsort(jnp.argsort(-density))
  return density < jnp.sum(density) * zipf(density.shape[0], exponent, shift)[rank]


def zipf(count: int, exponent: Scalar, shift: Scalar) -> Array:
  """Shares of a Zipf law: (r + 1 + shift)^-exponent, normalised.

  Args:
    count: number of ranks.
    exponent: of the law; 0 makes all shares equal.
    shift: of the rank, > -1.

  Returns:
    [count], falling, with the sum 1.
  """
  shares = (jnp.arange(1, count + 1) + shift) ** -jnp.asarray(exponent, jnp.float32)
  return shares / jnp.sum(shares)


def variance(x: Array) -> Array:
  """Mean squared distance from the mean.

  Args:
    x: [n, d].

  Returns:
    A scalar.
  """
  return jnp.mean(jnp.sum(jnp.square(x - jnp.mean(x, axis=0)), axis=-1))


def _ghost(params: Tree, x: Array, residual: Array, dead: Array) -> Array:
  """Ghost gradients: dead latents act through an exponential, scaled to half of the residual.

  Formula: g = (exp(a) dead) W_dec; r = |e| / (2 |g|) without gradient; |e - r g|^2, times
  E|e|^2 / E|e - r g|^2 without gradient, so that it weighs as much as the reconstruction's.
  """
  scores = (x - params["b_dec"]) @ params["W_enc"].T + params["b_enc"]
  # An exponential of a large pre-activation is no dead latent's; it is kept from overflowing.
  active = jnp.where(dead, jnp.exp(jnp.minimum(scores, 20.0)), 0.0)
  ghost = active @ params["W_dec"]

  def length(rows):
    return jnp.linalg.norm(rows, axis=-1, keepdims=True)

  still = jax.lax.stop_gradient
  ghost = ghost * still(length(residual) / (2.0 * jnp.maximum(length(ghost), 1e-12)))
  square = jnp.sum(jnp.square(residual - ghost), axis=-1)
  main = jnp.mean(jnp.sum(jnp.square(residual), axis=-1))
  return square * still(main / jnp.maximum(jnp.mean(square), 1e-12))


def resample(
  params: Tree, x: Array, value: Array, dead: Array, key: Array, fresh: Tree
) -> tuple[Tree, Array]:
  """Starts dead latents anew at examples that are reconstructed badly.

  Formula: for each dead latent an example n is drawn with probability prop. to |x_n - value_n|^4,
  the square of its loss, each example once; its row of the decoder becomes the unit vector along
  x_n - b_dec, that of the encoder 0.2 times the mean length of the living rows along it, its bias
  0, and what else a variant has per latent becomes what it was at the start, or a threshold that
  the old latent never passed would keep the new one dead. Two latents at one example would get the
  same gradients for ever, so where fewer examples than dead latents have an error, the others stay
  dead until the next round.

  Args:
    params: of the dictionary.
    x: [n, dim].
    value: [n, dim] the reconstruction.
    dead: [latents] bool.
    key: of the draws.
    fresh: parameters as they are drawn at the start.

  Returns:
    (the parameters, changed in the rows of dead latents alone; [latents] bool, which were changed).
  """
  loss = jnp.sum(jnp.square(x - value), axis=-1)
  loss = jnp.where(jnp.isfinite(loss), loss, 0.0)  # a broken example is no place to start at
  loss = loss / jnp.maximum(jnp.max(loss), 1e-30)  # its square below neither over- nor underflows
  first = dead & (jnp.cumsum(dead) <= x.shape[0])  # there are no more examples
  rows, moved = revive(
    rng.stream(key, "resample"),
    params["W_dec"],
    first,
    x - params["b_dec"],
    jnp.square(loss),
    jnp.ones_like(loss),
  )
  rows = rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
  encoder = "W_enc" in params  # matching pursuit has none
  lengths = jnp.linalg.norm(params["W_enc" if encoder else "W_dec"], axis=-1)
  living = jnp.sum(jnp.where(dead, 0.0, lengths)) / jnp.maximum(jnp.sum(~dead), 1)
  length = jnp.where(jnp.all(dead), 1.0, living)  # of none alive: as at the start
  start = {**fresh, "W_dec": rows}
  if encoder:
    start |= {"W_enc": ENCODER_SHARE * length * rows, "b_enc": jnp.zeros_like(params["b_enc"])}

  def anew(name, old):
    if old.shape[:1] != moved.shape or name == "b_dec":
      return old  # not per latent
    return jnp.where(moved.reshape(-1, *[1] * (old.ndim - 1)), start[name], old)

  return {name: anew(name, old) for name, old in params.items()}, moved
