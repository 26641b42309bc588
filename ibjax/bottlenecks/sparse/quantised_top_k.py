"""A TopK dictionary whose activations are rounded to a few levels: a sparse code of finite bits.

Source: Gao et al. 2024 (arXiv:2406.04093), the TopK dictionary; Esser et al. 2020, "Learned step
size quantization" (arXiv:1902.08153), the rounding.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import linear
from ibjax.bottlenecks.sparse.top_k import top_k
from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array


def quantised_top_k(
  dim: int = 32,
  latents: int = 256,
  k: int = 8,
  levels: int = 8,
  scale: Scalar = 4.0,
  dead_after: int = 200,
) -> Bottleneck:
  """Sends which k latents of a dictionary are active, and each one's activation in a few levels.

  Formula: z = the activations of `top_k`; level = clip(round(z / s), 0, levels - 1), s one learned
  step, scale / (levels - 1) at first; value = sum_j s level_j W_dec[j] + b_dec. Gradients pass the
  rounding straight through, inside its range, so that s learns too; what is clipped moves s alone.

  Use it where sparse codes are compared with others by their bits: activations that are real
  numbers have no finite number of them. `ibjax.evaluators.code_usage` measures the bits: its
  symbols are the levels of all latents, most of them 0.

  Dead latents start anew every dead_after steps ("resample" of `top_k`), and the bias as the
  geometric median of the first batch.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: active latents per example; at most `latents`.
    levels: values that an activation may take, 0 among them; at least 2.
    scale: the largest activation that is told from larger ones, at first; > 0, may be traced.
    dead_after: steps without being active after which a latent starts anew.

  Returns:
    A `Bottleneck`: features [n, dim] in, the rounded reconstruction [n, dim] out; bits [n] is
    log2 C(latents, k) + k log2 levels, and rate [n] the same in nats. In aux "indices"
    [n, latents] int32, the level of every latent, "alphabet" [n] the number of levels, "l0" [n],
    "commitment" and "codebook" [n], the squared distance of features and value, whose gradient
    goes to the one or to the other: what `ibjax.objectives.wrappers.quantised` adds.

  Raises:
    InputError: fewer than 2 levels, a scale of 0 or less, or what `top_k` refuses.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.quantised_top_k import quantised_top_k
    >>> channel = quantised_top_k(dim=4, latents=16, k=2, levels=4)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((3, 4)), key=None, train=False)
    >>> code.value.shape, round(float(code.bits[0]), 3)  # log2 120 + 4
    ((3, 4), 10.907)

  Source: Gao et al. 2024 (arXiv:2406.04093), section 2.3; Esser et al. 2020 (arXiv:1902.08153),
  eqs. 1 to 3. Their combination is ours.
  """
  checks.at_least("levels", levels, 2)
  checks.at_least("scale", scale, 0.0, strict=True)
  inner = top_k(dim, latents, k, revival="resample", dead_after=dead_after)
  bits = (math.lgamma(latents + 1) - math.lgamma(k + 1) - math.lgamma(latents - k + 1)) / math.log(
    2.0
  ) + k * math.log2(levels)

  def init(key):
    params, state = inner.init(key)
    return {**params, "log_step": jnp.log(jnp.asarray(scale, jnp.float32) / (levels - 1))}, state

  def apply(params, state, features, *, key, train):
    n, x = features.shape[0], features.astype(jnp.float32)
    still = jax.lax.stop_gradient

    def through(x):
      code, new = inner.apply(params, state, x, key=key, train=train)
      indices = code.aux["indices"]
      rounded, level = _round(code.aux["activations"], jnp.exp(params["log_step"]), levels)
      value = linear.decode_at(rounded, indices, params["W_dec"]) + params["b_dec"]
      return value, indices, level, new

    value, indices, level, new = through(x)
    symbols = jnp.zeros((n, latents), jnp.int32)
    symbols = symbols.at[jnp.arange(n)[:, None], indices].set(level.astype(jnp.int32))
    aux = {
      "indices": symbols,
      "alphabet": jnp.full(n, levels, jnp.int32),
      "l0": jnp.sum(symbols > 0, axis=-1, dtype=jnp.float32),
      "commitment": jnp.sum(jnp.square(x - still(value)), axis=-1),
      # The same numbers: the dictionary encodes too, and so its gradient would reach the features.
      "codebook": jnp.sum(jnp.square(still(x) - through(still(x))[0]), axis=-1),
    }
    stored = jnp.full(n, bits, jnp.float32)
    return Code(value, stored * math.log(2.0), stored, aux), new

  def settle(params, state, features, key):
    own = {name: value for name, value in params.items() if name != "log_step"}
    assert inner.settle is not None
    own, state = inner.settle(own, state, features, key)
    return {**own, "log_step": params["log_step"]}, state

  return Bottleneck(dim, init, apply, settle, inner.due)


def _round(values: Array, step: Array, levels: int) -> tuple[Array, Array]:
  """(values at the nearest of the levels, which level), the first straight through."""
  scaled = jnp.clip(values / step, 0.0, levels - 1.0)
  level = jax.lax.stop_gradient(jnp.round(scaled))
  return step * (scaled + level - jax.lax.stop_gradient(scaled)), level


def _params(step: float) -> dict[str, Array]:
  return {
    "W_enc": jnp.eye(2),
    "b_enc": jnp.zeros(2),
    "W_dec": jnp.eye(2),
    "b_dec": jnp.zeros(2),
    "log_step": jnp.log(jnp.float32(step)),
  }


CASES = (
  Case(
    name="the larger of two, rounded to a half",
    hyper=dict(dim=2, latents=2, k=1, levels=8),
    inputs=lambda: dict(params=_params(0.5), features=jnp.array([[1.2, 1.7], [0.3, -1.0]])),
    expected=dict(value=[[0.0, 1.5], [0.5, 0.0]], bits=[1.0 + 3.0, 1.0 + 3.0]),
    source="by hand: 1.7 is nearest to 1.5, 0.3 to 0.5; log2 C(2, 1) + log2 8",
  ),
  Case(
    name="what is beyond the last level is clipped to it",
    hyper=dict(dim=2, latents=2, k=2, levels=3),
    inputs=lambda: dict(params=_params(1.0), features=jnp.array([[9.0, 0.4]])),
    expected=dict(value=[[2.0, 0.0]]),
    source="by hand",
  ),
)
