"""What all sparse autoencoders share: parameters, dead latents, revival, starting from the data.

A sparse autoencoder is a bottleneck whose value is the reconstruction of its features. Encoder,
bias and decoder stand in its parameters as "W_enc" and "W_dec" [latents, dim], row i of both
belonging to latent i, and "b_enc" [latents], "b_dec" [dim]. A variant is the function that decides
which latents are active (`Activity`); the rest is here.

Its state counts the steps since each latent was active ("idle"), averages in which share of the
examples it is ("density", from zero on), and reports the share of latents that are dead, idle for
`dead_after` steps or more, as the metric dead_latents_frac. It computes in float32, whatever type
its features and parameters have. A step is one batch that the bottleneck
sees in training: where config.train.accumulate makes several microbatches of an update, each is
one, and all durations of the keywords (dead_after, anneal_steps) and averages count these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import revival as revival_lib
from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Code, Tree

Array = jax.Array

CENTERS = ("zeros", "mean", "geometric_median")
MEDIAN_ITERATIONS = 50
DECAY = 0.99  # of the average of densities


class Shared(NamedTuple):
  """The keywords that every sparse autoencoder has; see `ibjax.bottlenecks.sparse.top_k`."""

  dim: int
  latents: int
  tied: bool
  center: str
  revival: str
  dead_after: int
  aux_k: int
  mesh: Any
  zipf: tuple[Any, Any] = (1.0, 0.0)  # exponent and shift of the densities "aux_zipf" expects


class Activity(NamedTuple):
  """What a variant makes of a batch.

  Attributes:
    value: [n, dim] the reconstruction.
    fired: [latents] in how many examples each latent is active.
    scores: [n, latents] pre-activations, which revival selects dead latents by.
    aux: arrays of the code: "sparsity" [n] the penalty, "l0" [n] active latents, and how the code
      is held: "indices" and "activations" [n, k], or "latents" [n, latents].
    state: the variant's own new state.
    there: [latents] bool, which latents there are; None for all.
  """

  value: Array
  fired: Array
  scores: Array
  aux: Mapping[str, Array]
  state: Tree
  there: Array | None = None


Activate = Callable[..., Activity]  # (params, own state, x [n, dim], *, key, train, step)


def build(
  shared: Shared,
  activate: Activate,
  *,
  start: Callable[[Array, Tree], Tree] | None = None,
  read: Callable[[Tree], Tree] = lambda params: params,
  own: Tree = None,
  features: int = 0,
) -> Bottleneck:
  """Builds the bottleneck of a variant.

  Args:
    shared: the keywords that all have.
    activate: the variant.
    start: `start(key, params) -> params`, adds, changes or drops parameters.
    read: gives parameters with an encoder, for a variant that dropped it.
    own: the variant's own state at first.
    features: width of the features where it is not `dim`; the first `dim` are reconstructed.

  Returns:
    A `Bottleneck` whose value is the reconstruction [n, dim], rate None.

  Raises:
    InputError: a keyword out of range, or features of another width.
  """
  dim, latents, wide = shared.dim, shared.latents, features or shared.dim
  check(shared)
  dead_after = shared.dead_after

  def initial_params(key):
    params = initial(rng.stream(key, "dictionary"), dim, latents, shared.tied)
    return params if start is None else start(rng.stream(key, "variant"), params)

  def init(key):
    state = {
      "step": jnp.int32(0),
      "settled": jnp.int32(-1),
      "idle": jnp.zeros(latents, jnp.int32),
      "density": jnp.zeros(latents),
      "own": {} if own is None else own,
      "metrics": {"dead_latents_frac": jnp.float32(0.0)},
    }
    return initial_params(key), state

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, wide))
    x, params = features.astype(jnp.float32), _at_least_float32(params)
    found = activate(params, state["own"], x, key=key, train=train, step=state["step"])
    x, n = x[:, :dim], x.shape[0]
    revived = jnp.zeros(n)
    if train:
      idle = jnp.where(found.fired > 0, 0, state["idle"] + 1)
      dead = idle >= dead_after
      density = DECAY * state["density"] + (1.0 - DECAY) * found.fired / n
      among = dead
      if shared.revival == "aux_zipf":
        among = revival_lib.rare(density, *shared.zipf)
      revived = revival_lib.error(shared, read(params), x, found.value, found.scores, among)
      state = {
        "step": state["step"] + 1,
        "settled": state["settled"],
        "idle": idle,
        "density": density,
        "own": jax.lax.stop_gradient(found.state),
        "metrics": {"dead_latents_frac": jnp.mean(dead, dtype=jnp.float32, where=found.there)},
      }
    aux = {**found.aux, "revival": revived}
    return Code(value=found.value, rate=None, bits=None, aux=aux), state

  def due(state):
    at_first = state["step"] == 0
    now = at_first if shared.center != "zeros" else jnp.bool_(False)
    if shared.revival == "resample":
      # A latent that was sampled is given as many steps as it was given to die.
      round_over = (state["step"] % dead_after == 0) & ~at_first
      now = now | (round_over & jnp.any(state["idle"] >= dead_after))
    return now & (state["settled"] != state["step"])

  def settle(params, state, features, key):
    x, kept, params = features.astype(jnp.float32), params, _at_least_float32(params)
    at_first = state["step"] == 0
    if shared.center != "zeros":
      middle = _center(x[:, :dim], shared.center)
      params = {**params, "b_dec": jnp.where(at_first, middle, params["b_dec"])}
    idle = state["idle"]
    if shared.revival == "resample":
      found = activate(params, state["own"], x, key=key, train=True, step=state["step"])
      dead = (idle >= dead_after) & ~at_first
      params, moved = revival_lib.resample(
        params, x[:, :dim], found.value, dead, key, initial_params(key)
      )
      idle = jnp.where(moved, 0, idle)
    params = jax.tree.map(lambda new, old: new.astype(old.dtype), params, kept)
    return params, {**state, "idle": idle, "settled": state["step"]}

  settles = shared.center != "zeros" or shared.revival == "resample"
  return Bottleneck(wide, init, apply, *((settle, due) if settles else ()))


def check(shared: Shared) -> None:
  """Raises InputError unless the keywords that all sparse autoencoders share fit.

  Args:
    shared: the keywords.

  Raises:
    InputError: a size below 1, an unknown name, or latents that do not divide over the mesh.
  """
  checks.at_least("dim", shared.dim, 1)
  checks.at_least("latents", shared.latents, 1)
  checks.at_least("dead_after", shared.dead_after, 1)
  checks.between("aux_k", shared.aux_k, 0, shared.latents)
  checks.one_of("center", shared.center, CENTERS)
  checks.one_of("revival", shared.revival, revival_lib.KINDS)
  over = 1 if shared.mesh is None else shared.mesh.shape["model"]
  if shared.latents % over:
    raise InputError(
      f"{shared.latents} latents do not divide over the {over} devices of the mesh's model axis; "
      f"{-(-shared.latents // over) * over} would."
    )


def check_k(k: Any, latents: int) -> None:
  """Raises InputError unless k latents of a dictionary can be active.

  Args:
    k: active latents per example.
    latents: size of the dictionary.

  Raises:
    InputError: k is not positive, or above the number of latents.
  """
  checks.at_least("k", k, 0.0, strict=True)
  if checks.is_concrete(k) and k > latents:
    raise InputError(
      f"k={k:g} latents are to be active of a dictionary of {latents}. Use k of at most {latents}, "
      "or more latents."
    )


def initial(key: Array, dim: int, latents: int, tied: bool) -> dict[str, Array]:
  """Draws a dictionary of unit vectors, and the encoder that reads along them.

  Args:
    key: of the draw.
    dim: width of the inputs.
    latents: size of the dictionary.
    tied: whether the encoder starts as the decoder's transpose; else as other unit vectors.

  Returns:
    {"W_enc" [latents, dim], "b_enc" [latents], "W_dec" [latents, dim], "b_dec" [dim]}.
  """
  decoder = unit(jax.random.normal(rng.stream(key, "decoder"), (latents, dim)))
  encoder = decoder
  if not tied:
    encoder = unit(jax.random.normal(rng.stream(key, "encoder"), (latents, dim)))
  # Copies: the program gives its state away, and one buffer cannot be given away twice.
  return {
    "W_enc": jnp.copy(encoder),
    "b_enc": jnp.zeros(latents),
    "W_dec": decoder,
    "b_dec": jnp.zeros(dim),
  }


def unit(rows: Array) -> Array:
  """Scales rows to unit length.

  Args:
    rows: [n, d], none of them zero.

  Returns:
    [n, d].
  """
  return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


def project(params: Tree, x: Array) -> Array:
  """Pre-activations of all latents.

  Formula: (x - b_dec) W_enc' + b_enc.

  Args:
    params: of a dictionary.
    x: [n, dim].

  Returns:
    [n, latents].
  """
  return (x - params["b_dec"]) @ params["W_enc"].T + params["b_enc"]


def dense(params: Tree, latents: Array, scores: Array, state: Tree, **aux: Array) -> Activity:
  """The activity of latents that are held densely, [n, latents].

  Args:
    params: of a dictionary.
    latents: [n, latents] activations, zero where not active.
    scores: [n, latents] pre-activations.
    state: the variant's new state.
    **aux: more of the code's arrays; a "sparsity" takes the place of the L1 norm.

  Returns:
    An `Activity`.
  """
  active = jax.lax.stop_gradient(latents) > 0
  return Activity(
    value=latents @ params["W_dec"] + params["b_dec"],
    fired=jnp.sum(active, axis=0, dtype=jnp.float32),
    scores=jax.lax.stop_gradient(scores),
    aux={
      "sparsity": jnp.sum(latents, axis=-1),
      "l0": jnp.sum(active, axis=-1, dtype=jnp.float32),
      "latents": latents,
      **aux,
    },
    state=state,
  )


def weighted_l1(params: Tree, latents: Array) -> Array:
  """The L1 norm of activations, each times the length of its row of the decoder.

  A plain L1 norm can be made small by a long decoder row and a small activation; this one cannot.

  Args:
    params: of a dictionary.
    latents: [n, latents].

  Returns:
    [n].
  """
  return jnp.abs(latents) @ jnp.linalg.norm(params["W_dec"], axis=-1)


def geometric_median(x: Array, counts: Array | None = None) -> Array:
  """The point whose distances to the rows add up to the least.

  Formula: Weiszfeld's iteration m <- sum_n x_n / |x_n - m| / sum_n 1 / |x_n - m|, from the mean.

  Args:
    x: [n, d].
    counts: [n] bool, which rows count; None for all.

  Returns:
    [d].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.dictionary import geometric_median
    >>> x = jnp.array([[0.0], [0.0], [0.0], [9.0]])  # as the median, where the mean is 2.25
    >>> round(float(geometric_median(x)[0]), 3)
    0.0
  """
  counted = jnp.ones(x.shape[0], bool) if counts is None else counts

  def closer(_, middle):
    distance = jnp.linalg.norm(x - middle, axis=-1, keepdims=True)
    weight = jnp.where(counted[:, None], 1.0 / jnp.maximum(distance, 1e-6), 0.0)
    return jnp.sum(weight * x, axis=0) / jnp.maximum(jnp.sum(weight), 1e-30)

  return jax.lax.fori_loop(0, MEDIAN_ITERATIONS, closer, _mean(x, counted))


def _at_least_float32(params: Tree) -> Tree:
  return jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float32)), params)


def _center(x: Array, kind: str) -> Array:
  """The mean or median of the rows that are finite: one broken row must not be all of b_dec."""
  finite = jnp.all(jnp.isfinite(x), axis=-1)
  # A product of zero and NaN is NaN: broken rows are replaced, not only left out.
  x = jnp.where(finite[:, None], x, 0.0)
  return _mean(x, finite) if kind == "mean" else geometric_median(x, finite)


def _mean(x: Array, counts: Array) -> Array:
  return jnp.sum(x, axis=0, where=counts[:, None]) / jnp.maximum(jnp.sum(counts), 1)
