"""Codebook features: activations become a sum of a few learned codes, which can be set by hand.

Source: Tamkin, Taufeeque and Goodman 2024, "Codebook features: sparse and discrete interpretability
for neural networks" (arXiv:2310.17230).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array

REDUCTIONS = ("mean", "sum")
STARTS = ("normal", "data")
NONE = -1  # no code is forced here
_EPSILON = 1e-5  # of the norm


def codebook_features(
  dim: int = 64,
  codes: int = 1000,
  k: int = 8,
  heads: int = 1,
  reduce: str = "mean",
  gather: bool = True,
  k_start: int = 0,
  k_steps: Scalar = 0.0,
  start: str = "normal",
  patience: int = 0,
  noise: Scalar = 1e-4,
) -> Bottleneck:
  """Replaces activations by the sum of the k codes that are most similar to them.

  Formula: a = norm(x), with a learned scale and shift; S = the k largest of cos(a, c_j);
  value = 1/k sum_{j in S} c_j ("mean"), or without 1/k ("sum"). The codes are not scaled by their
  similarity, and the value stays at the norm's scale. Each head has its own norm and codebook.

  The gradient of the value passes straight through to a, and so through the norm to x. To the codes
  it passes as to any sum (`gather`), or not at all. aux holds "codebook" |sg(a) - value|^2 and
  "commitment" |a - sg(value)|^2, which `ibjax.objectives.wrappers.quantised` adds. With its weights
  (codebook, commitment) the published losses are: base, gather, (0, 0); aeloss, gather, (1, 0);
  fullaeloss, gather, (1, 0.25); vqvae, gather=False, (1, 0.25). Distances are summed over the
  width and averaged over tokens, so that they weigh more the wider the layer is.

  A code that no token of a batch chose for `patience` updates is dead. Every `patience` updates the
  dead become activations a of the batch, drawn at random, plus noise |a| N(0, 1).

  Codes start standard normal, as published, or, by "data", as activations of the first batch, drawn
  as revived ones are: for a trained model that is to keep what it knows, with few updates.

  Use it at layers of a language model (`config.sites`): what it computes then goes through codes
  that can be read, switched on and switched off (`intervention`).

  Args:
    dim: width of the activations, of all heads together.
    codes: F, of each codebook.
    k: how many codes make a value.
    heads: parts of the activations with a codebook each; divides dim.
    reduce: "mean", as the published code has it; "sum", as the paper says.
    gather: whether the gradient of the value reaches the codes.
    k_start: k at first, from where it goes down linearly; 0 starts at k.
    k_steps: updates until it is k.
    start: "normal" or "data".
    patience: updates until an unused code is dead; 0 never revives one.
    noise: of revived codes.

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim], rate [n] nats and bits [n] of
    heads sets of k codes, log C(F, k) each, and in aux "indices" [n, heads k] int32 (head-major,
    the most similar first), "codebook" and "commitment" [n]. Metrics: code_usage_frac, the share of
    codes that the batch uses; dead_frac, the share unused for `patience` updates, or, with no
    patience, since the start; code_error, the mean |a - value|^2 / |a|^2.

  Raises:
    InputError: a size below 1, k above the codes, heads that do not divide, an unknown reduction or
      start.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.codebook_features import codebook_features
    >>> channel = codebook_features(dim=4, codes=8, k=1, heads=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.eye(4), key=None, train=False)
    >>> code.aux["indices"].shape, code.bits.tolist()
    ((4, 2), [6.0, 6.0, 6.0, 6.0])

  Source: Tamkin et al. 2024 (arXiv:2310.17230), section 3; the mean, the losses and the revival
  are those of its published code (codebook_features/models.py). k going down is ours.
  """
  _check(dim, codes, k, heads, reduce, k_start)
  checks.one_of("start", start, STARTS)
  checks.at_least("k_steps", k_steps, 0.0)
  checks.at_least("patience", patience, 0)
  checks.at_least("noise", noise, 0.0)
  d, most = dim // heads, max(k, k_start)
  nats = heads * (math.lgamma(codes + 1) - math.lgamma(k + 1) - math.lgamma(codes - k + 1))

  def init(key):
    params = {
      "codebook": jax.random.normal(rng.stream(key, "codebook"), (heads, codes, d)),
      "scale": jnp.ones((heads, d)),
      "shift": jnp.zeros((heads, d)),
    }
    zero = jnp.float32(0.0)
    state = {
      "step": jnp.int32(0),
      "started": jnp.bool_(start == "normal"),
      "idle": jnp.zeros((heads, codes), jnp.int32),
      "metrics": {"code_usage_frac": zero, "dead_frac": zero, "code_error": zero},
    }
    return params, state

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, dim))
    a = normalised(params, features, heads)
    chosen = most_similar(a, params["codebook"], most)
    weights = _weights(k, k_start, k_steps, state["step"], reduce)
    q = _summed(params["codebook"], chosen, weights)
    learning = jnp.sum(jnp.square(jax.lax.stop_gradient(a) - q), axis=(1, 2))
    if not gather:
      q = jax.lax.stop_gradient(q)
    # a - sg(a) is 0 bit for bit, so that the value is the codes' sum.
    value = q + (a - jax.lax.stop_gradient(a))
    commitment = jnp.sum(jnp.square(a - jax.lax.stop_gradient(q)), axis=(1, 2))
    used = _used(chosen, codes, weights > 0)
    updates, idle = state["step"], state["idle"]
    if train:
      updates, idle = updates + 1, jnp.where(used, 0, idle + 1)
    dead = (idle >= (patience or updates)) & (updates > 0)
    metrics = {
      "code_usage_frac": jnp.mean(used, dtype=jnp.float32),
      "dead_frac": jnp.mean(dead, dtype=jnp.float32),
      "code_error": jnp.mean(learning) / jnp.mean(jnp.sum(jnp.square(a), axis=(1, 2))),
    }
    metrics = jax.lax.stop_gradient(metrics)
    n = features.shape[0]
    aux = {
      "indices": chosen.reshape(n, -1),
      "codebook": learning,
      "commitment": commitment,
    }
    rate = jnp.full(n, nats, jnp.float32)
    bits = jnp.full(n, nats / math.log(2.0), jnp.float32)
    return Code(value.reshape(n, dim), rate, bits, aux), {
      **state,
      "step": updates,
      "idle": idle,
      "metrics": metrics,
    }

  if not patience and start == "normal":
    return Bottleneck(dim, init, apply)

  def settle(params, state, features, key):
    a = jax.lax.stop_gradient(normalised(params, features, heads))
    dead = ~state["started"]
    if patience:
      dead = dead | (state["idle"] >= patience)
    dead = jnp.broadcast_to(dead, (heads, codes))

    def revive(key, book, dead, a):
      rows = jax.random.randint(rng.stream(key, "rows"), (codes,), 0, a.shape[0])
      drawn = a[rows]
      size = jnp.sqrt(jnp.sum(jnp.square(drawn), axis=-1, keepdims=True))
      moved = drawn + noise * size * rng.normal(rng.stream(key, "noise"), drawn.shape)
      return jnp.where(dead[:, None], moved, book)

    keys = jax.vmap(lambda i: rng.stream(key, "revive", i))(jnp.arange(heads))
    book = jax.vmap(revive)(keys, params["codebook"], dead, jnp.swapaxes(a, 0, 1))
    idle = jnp.where(dead, 0, state["idle"])
    return {**params, "codebook": book}, {**state, "idle": idle, "started": jnp.bool_(True)}

  def due(state):
    if not patience:
      return ~state["started"]
    step = state["step"]
    late = (step > 0) & (step % patience == 0) & jnp.any(state["idle"] >= patience)
    return ~state["started"] | late

  return Bottleneck(dim, init, apply, settle, due)


def intervention(
  dim: int = 64, codes: int = 1000, k: int = 8, heads: int = 1, reduce: str = "mean", **rest: object
):
  """Makes the function that reads activations with codes switched on and off.

  Args:
    dim: as in `codebook_features`, and so are the next.
    codes: of each codebook.
    k: codes of a value.
    heads: codebooks.
    reduce: "mean" or "sum".
    **rest: its other keywords, which do not matter here.

  Returns:
    `value(params, features [n, dim], on [n, heads, m] int32, off [heads, codes] bool,
    refill=True) -> (value [n, dim], indices [n, heads, k])`. Codes in `on` (`NONE`: no code) take
    the first of the k places, m of them at most; the rest are the most similar ones that are not
    `off`. Without refill, or where none is left to fill it, the place of a code that is off stays
    empty, and the mean still divides by k; its index is `NONE`.

  Raises:
    InputError: as `codebook_features`; more codes on than k.

  Source: Tamkin et al. 2024 (arXiv:2310.17230), section 5; with and without refill as in its
  published code.
  """
  del rest
  _check(dim, codes, k, heads, reduce, 0)

  def value(params, features, on, off, refill: bool = True):
    n, m = features.shape[0], on.shape[-1]
    if m > k:
      raise InputError(f"{m} codes are switched on at one place, which has k={k} of them.")
    a = normalised(params, features, heads)
    scores = similarity(a, params["codebook"])
    if refill:
      scores = jnp.where(off, -jnp.inf, scores)
    at = jnp.where(on == NONE, codes, on)  # behind the end: dropped
    rows, columns = jnp.arange(n)[:, None, None], jnp.arange(heads)[:, None]
    scores = scores.at[rows, columns, at].set(jnp.inf, mode="drop")
    chosen = jax.lax.top_k(scores, k)[1]
    forced = jnp.any(chosen[..., None] == on[:, :, None, :], axis=-1)
    kept = forced | ~off[columns, chosen]
    picked = params["codebook"][columns, chosen] * kept[..., None]
    total = jnp.sum(picked, axis=2) / (k if reduce == "mean" else 1)
    return total.reshape(n, dim), jnp.where(kept, chosen, NONE)

  return value


def normalised(params, features: Array, heads: int) -> Array:
  """The activations at the scale of the codes.

  Args:
    params: of the bottleneck.
    features: [n, dim].
    heads: how many parts they have.

  Returns:
    [n, heads, dim / heads] float32: each head without its mean, over its standard deviation, times
    the learned scale plus the shift.
  """
  x = features.astype(jnp.float32).reshape(features.shape[0], heads, -1)
  x = x - jnp.mean(x, axis=-1, keepdims=True)
  x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + _EPSILON)
  return x * params["scale"] + params["shift"]


def similarity(a: Array, codebook: Array) -> Array:
  """Similarity of activations and codes: |a| times the cosine, which ranks as the cosine does.

  Args:
    a: [n, heads, d].
    codebook: [heads, codes, d].

  Returns:
    [n, heads, codes].
  """
  length = jnp.sqrt(jnp.sum(jnp.square(codebook), axis=-1, keepdims=True))
  return jnp.einsum("nhd,hcd->nhc", a, codebook / jnp.maximum(length, 1e-12))


def most_similar(a: Array, codebook: Array, k: int) -> Array:
  """The k codes of largest cosine, in order; no gradient passes.

  Args:
    a: [n, heads, d].
    codebook: [heads, codes, d].
    k: how many.

  Returns:
    [n, heads, k] int32.
  """
  scores = similarity(*jax.lax.stop_gradient((a, codebook)))
  if k == 1:
    return jnp.argmax(scores, axis=-1, keepdims=True).astype(jnp.int32)
  return jax.lax.top_k(scores, k)[1]


def _weights(k: int, k_start: int, k_steps: Scalar, step: Array, reduce: str) -> Array:
  """What the code of each rank counts: [max(k, k_start)]."""
  count = jnp.float32(k)
  if k_start > k:
    left = jnp.maximum(1.0 - step / jnp.maximum(k_steps, 1.0), 0.0)
    count = k + jnp.ceil((k_start - k) * left)
  on = (jnp.arange(max(k, k_start)) < count).astype(jnp.float32)
  return on / count if reduce == "mean" else on


def _summed(codebook: Array, chosen: Array, weights: Array) -> Array:
  picked = codebook[jnp.arange(codebook.shape[0])[:, None], chosen]  # [n, heads, k, d]
  return jnp.einsum("nhkd,k->nhd", picked, weights)


def _used(chosen: Array, codes: int, on: Array) -> Array:
  """[heads, codes] bool: whether any row chose the code at a rank that counts."""
  heads = chosen.shape[1]
  at = jnp.where(on, chosen, codes)
  found = jnp.zeros((heads, codes), bool)
  return found.at[jnp.arange(heads)[:, None], at].set(True, mode="drop")


def _check(dim: int, codes: int, k: int, heads: int, reduce: str, k_start: int) -> None:
  for name, size in dict(dim=dim, codes=codes, k=k, heads=heads).items():
    checks.at_least(name, size, 1)
  checks.at_least("k_start", k_start, 0)
  checks.one_of("reduce", reduce, REDUCTIONS)
  if max(k, k_start) > codes:
    raise InputError(
      f"k={max(k, k_start)} codes of {codes} cannot be chosen; set k and k_start to at most "
      f"{codes}."
    )
  if dim % heads:
    raise InputError(f"heads={heads} do not divide dim={dim}; each head has its share.")


CASES = (
  Case(
    name="two of three codes, by their angle alone, are averaged",
    hyper=dict(dim=2, codes=3, k=2),
    inputs=lambda: dict(
      params={
        "codebook": jnp.array([[[0.1, 0.0], [9.0, 9.0], [0.0, 0.3]]]),
        "scale": jnp.ones((1, 2)),
        "shift": jnp.zeros((1, 2)),
      },
      features=jnp.array([[3.0, 1.0], [1.0, 5.0]]),
    ),
    # The norm makes (1, -1) and (-1, 1) of the features.
    expected=dict(value=[[4.55, 4.5], [4.5, 4.65]], bits=[math.log2(3.0)] * 2),
    source="by hand",
  ),
  Case(
    name="the sum of the only two codes, of heads apart",
    hyper=dict(dim=4, codes=2, k=2, heads=2, reduce="sum"),
    inputs=lambda: dict(
      params={
        "codebook": jnp.array([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 4.0]]]),
        "scale": jnp.ones((2, 2)),
        "shift": jnp.zeros((2, 2)),
      },
      features=jnp.array([[1.0, 2.0, 3.0, 5.0]]),
    ),
    expected=dict(value=[[1.0, 2.0, 3.0, 4.0]], bits=[0.0], rate=[0.0]),
    source="by hand",
  ),
)
