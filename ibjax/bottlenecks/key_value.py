"""Discrete key-value bottleneck: frozen keys fetch learned values, so that learning stays local.

Source: Traeuble et al. 2023, "Discrete key-value bottleneck" (arXiv:2207.11240).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.key_learning import consistent, learn, seed_keys, squared_distances
from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array

PROJECTIONS = ("random", "chunks")
STARTS = ("normal", "kmeans++")
DECODES = ("mean", "concatenated")


def key_value(
  dim: int = 10,
  width: int = 64,
  heads: int = 16,
  keys: int = 256,
  key_dim: int = 8,
  projection: str = "random",
  start: str = "normal",
  key_steps: int = 1000,
  decay: Scalar = 0.95,
  expiry: Scalar = 0.1,
  top_k: int = 1,
  decode: str = "mean",
  value_scale: Scalar = 0.0,
  hit_only: bool = True,
  positions: int = 1,
) -> Bottleneck:
  """Replaces features by learned values that the nearest of fixed keys fetch, head by head.

  Formula: h_c = P_c' f, P_c fixed with columns of unit length; the top_k keys nearest to h_c in
  codebook c fetch their values, of which the mean is v_c; z = 1/C sum_c v_c ("mean"), or
  (v_1, ..., v_C) ("concatenated"), averaged over positions. bits = positions C log2 binomial(J, k),
  which is positions C log2 J where k = 1; the rate is that in nats, a bound on I(X;Z).

  Use it where data come in an order, class after class, and what was learned first must stay: an
  update moves the values that were fetched and no others. With the mean and a decoder that passes
  its input on (`ibjax.models.identity`), values are votes and there is nothing else to forget.

  For the first `key_steps` updates keys alone are learned, without labels: by moving averages of
  the rows nearest to them, dead ones being replaced by rows of the batch. Then keys are frozen, and
  values learn; in a program that trains on other data first (`ibjax.programs.incremental`) keys
  never see the labelled data. No gradient reaches the encoder.

  With the mean, a value's gradient is divided by C k and by the batch size: learning rates are
  large (the paper's 0.3 is with sums over k). Use plain SGD, or `ibjax.programs.lazy_adam`: the
  momentum of other optimisers moves values that were not fetched.

  What differs from the published code: moving averages start at what belongs to the first keys, and
  at replaced ones (there, sums of 0 or of an earlier key pull a key away at the next update);
  counts are not smoothed, since replacement keeps them from zero; the k values are averaged, not
  summed; in evaluation keys never hit in training are left out of the search, and a head without
  any key hit searches all (there, all fetch the first).

  Args:
    dim: width of the code; with "concatenated" a multiple of heads.
    width: width of the features of one position.
    heads: number C of codebooks.
    keys: number J of key-value pairs of each.
    key_dim: width of a key; with "chunks" it must be width / heads.
    projection: "random", or "chunks": head c is the c-th part of the features.
    start: first keys: "normal", standard normal draws; or "kmeans++", rows of the first training
      batch (in the program's `settle`), which must have as many as there are keys.
    key_steps: updates at the start that learn keys; 0 leaves them at their start.
    decay: in [0, 1), of the moving averages; may be traced.
    expiry: in [0, 1): a key is dead with less than this part of its even share of the rows; 0
      replaces none; may be traced.
    top_k: number of keys that fetch in each head, at most keys; learning of keys takes one.
    decode: "mean" or "concatenated".
    value_scale: standard deviation of the first values; may be traced.
    hit_only: search keys hit while values were trained only, in evaluation.
    positions: of spatial features, laid out [positions, width]; they share keys and values.

  Returns:
    A `Bottleneck`: features [n, positions * width] in, code [n, dim] out, with rate and bits [n];
    aux "indices" [n, positions * heads, top_k], nearest first. Reported: "key_perplexity", of the
    last training batch, mean over heads, and "keys_hit_frac", the part of the keys that training
    of values has hit.

  Raises:
    InputError: a size, range or option that does not fit: heads that do not divide dim or width,
      top_k above keys; features of another width; k-means++ from fewer rows than keys.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.key_value import key_value
    >>> channel = key_value(dim=3, width=4, heads=2, keys=8, key_dim=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((5, 4)), key=None, train=False)
    >>> code.value.shape, code.bits.tolist()[0]
    ((5, 3), 6.0)

  Source: Traeuble et al. 2023 (arXiv:2207.11240), section 3, with the update of keys of van den
  Oord et al. 2017 (arXiv:1711.00937), appendix A.1, as their published code has it.
  """
  _check(dim, width, heads, keys, key_dim, projection, start, top_k, decode, positions)
  checks.at_least("key_steps", key_steps, 0)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  checks.between("expiry", expiry, 0.0, 1.0, open_high=True)
  checks.at_least("value_scale", value_scale, 0.0)
  value_dim = dim // heads if decode == "concatenated" else dim
  stored = positions * heads * math.log2(math.comb(keys, top_k))
  head = jnp.arange(heads)[None]

  def init(key):
    values = value_scale * rng.normal(rng.stream(key, "values"), (heads, keys, value_dim))
    state: dict[str, Any] = {}
    state |= consistent(rng.normal(rng.stream(key, "keys"), (heads, keys, key_dim)))
    if projection == "random":
      drawn = rng.normal(rng.stream(key, "projection"), (heads, width, key_dim))
      state["projection"] = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
    state["hits"] = jnp.zeros((heads, keys), jnp.int32)
    state["step"] = jnp.int32(0)
    state["started"] = jnp.bool_(start == "normal")
    state["metrics"] = {"key_perplexity": jnp.float32(1.0), "keys_hit_frac": jnp.float32(0.0)}
    return {"values": values}, state

  def split(state, features):
    """Rows of all positions [n * positions, heads, key_dim]."""
    checks.shape("features", features, (None, positions * width))
    rows = jax.lax.stop_gradient(features).astype(jnp.float32).reshape(-1, width)
    if projection == "chunks":
      return rows.reshape(-1, heads, key_dim)
    return jnp.einsum("nw,cwd->ncd", rows, state["projection"])

  def settle(params, state, features, key):
    rows = split(state, features)
    if rows.shape[0] < keys:
      raise InputError(
        f"k-means++ would choose {keys} keys from the {rows.shape[0]} rows of a batch; there must "
        "be as many rows as keys. Use a larger batch, fewer keys, or start='normal', whose keys "
        "come to the data batch by batch."
      )
    seeded = consistent(seed_keys(rows, keys, rng.stream(key, "seeding")))
    return params, {**state, **seeded, "started": jnp.bool_(True)}

  def search(state, rows, train):
    """(indices [rows, heads, top_k], weights of the same shape that sum to 1)."""
    distances = squared_distances(rows, state["keys"])
    if train or not hit_only:
      chosen = _nearest(distances, top_k)
      return chosen, jnp.full(chosen.shape, 1.0 / top_k)
    hit = state["hits"] > 0
    searched = hit | ~jnp.any(hit, axis=-1, keepdims=True)
    chosen = _nearest(jnp.where(searched, distances, jnp.inf), top_k)
    valid = jnp.asarray(searched[head[..., None], chosen], jnp.float32)
    return chosen, valid / jnp.sum(valid, axis=-1, keepdims=True)

  def apply(params, state, features, *, key, train):
    rows = split(state, features)
    chosen, weights = search(state, rows, train)
    fetched = params["values"][head[..., None], chosen]
    if train:
      learning = state["step"] < key_steps
      fetched = jnp.where(learning, jax.lax.stop_gradient(fetched), fetched)
      state = _trained(state, rows, chosen, learning, key)
    v = jnp.sum(weights[..., None] * fetched, axis=2)
    v = jnp.mean(v.reshape(-1, positions, heads, value_dim), axis=1)
    value = jnp.mean(v, axis=1) if decode == "mean" else v.reshape(-1, dim)
    # A comparison with NaN would fetch some value all the same.
    finite = jnp.all(jnp.isfinite(features), axis=-1)
    bits = jnp.full(value.shape[:1], stored, jnp.float32)
    aux = {"indices": chosen.reshape(value.shape[0], positions * heads, top_k)}
    value = jnp.where(finite[:, None], value, jnp.nan)
    return Code(value, bits * math.log(2.0), bits, aux), state

  def _trained(state, rows, chosen, learning, key):
    """The state after a training batch: keys while they are learned, hits after."""
    moving = {name: state[name] for name in ("keys", "counts", "sums")}
    draw = rng.stream(key, "revival")
    moving = jax.lax.cond(
      learning,
      lambda moving: learn(moving, rows, chosen[..., 0], decay, expiry, draw),
      lambda moving: moving,
      moving,
    )
    hits = jnp.zeros((heads, keys), jnp.int32).at[head[..., None], chosen].add(1)
    total = jnp.where(learning, 0, state["hits"] + hits)
    share = hits / (rows.shape[0] * top_k)
    nats = -jnp.sum(jax.scipy.special.xlogy(share, share), axis=-1)
    metrics = {
      "key_perplexity": jnp.mean(jnp.exp(nats)),
      "keys_hit_frac": jnp.mean(total > 0, dtype=jnp.float32),
    }
    step = state["step"] + 1
    return {**state, **moving, "hits": total, "step": step, "metrics": metrics}

  options = (settle, lambda state: ~state["started"]) if start == "kmeans++" else ()
  return Bottleneck(positions * width, init, apply, *options)


def _nearest(distances: Array, top_k: int) -> Array:
  """Indices [..., top_k] of the least distances, the first among equals."""
  if top_k == 1:  # much sooner than a sort
    return jnp.argmin(distances, axis=-1)[..., None]
  return jax.lax.top_k(-distances, top_k)[1]


def _check(dim, width, heads, keys, key_dim, projection, start, top_k, decode, positions) -> None:
  sizes = dict(dim=dim, width=width, heads=heads, keys=keys, key_dim=key_dim, top_k=top_k)
  for name, value in {**sizes, "positions": positions}.items():
    checks.at_least(name, value, 1)
  checks.one_of("projection", projection, PROJECTIONS)
  checks.one_of("start", start, STARTS)
  checks.one_of("decode", decode, DECODES)
  if top_k > keys:
    raise InputError(f"top_k={top_k} keys cannot be fetched of {keys}; use at most {keys}.")
  if decode == "concatenated" and dim % heads:
    raise InputError(
      f"{heads} heads do not divide a code of dim={dim}: concatenated, each gives dim / heads. "
      f"Use dim={heads * max(1, dim // heads)}, or another number of heads."
    )
  if projection == "chunks" and heads * key_dim != width:
    fits = f"Set key_dim={width // heads}." if width % heads == 0 else "Use heads that divide it."
    raise InputError(
      f"{heads} heads of key_dim={key_dim} are not chunks of features of width={width}. {fits}"
    )


CASES = (
  Case(
    name="the nearest of two keys votes, in two heads",
    hyper=dict(dim=2, width=2, heads=2, keys=2, key_dim=1, projection="chunks"),
    inputs=lambda: dict(
      # Keys are drawn, so values are the same for both keys of a head: what is fetched is known.
      params={"values": jnp.array([[[1.0, 0.0]] * 2, [[0.0, 3.0]] * 2])},
      features=jnp.array([[5.0, -5.0]]),
    ),
    expected=dict(value=[[0.5, 1.5]], bits=[2.0], rate=[2.0 * math.log(2.0)]),
    source="closed form: the mean over heads; 2 log2 2 bits",
  ),
  Case(
    name="two of four keys fetch, and heads stand side by side",
    hyper=dict(
      dim=2,
      width=2,
      heads=2,
      keys=4,
      key_dim=1,
      projection="chunks",
      top_k=2,
      decode="concatenated",
    ),
    inputs=lambda: dict(
      params={"values": jnp.array([[[1.0]] * 4, [[-2.0]] * 4])}, features=jnp.array([[0.0, 1.0]])
    ),
    expected=dict(value=[[1.0, -2.0]], bits=[2.0 * math.log2(6.0)]),
    source="closed form: 2 log2 binomial(4, 2) bits",
  ),
)
