"""A main and several auxiliary Gaussian codes, learned one after another and then mixed.

Source: Yang et al. 2025, "Structured IB" (AAAI), on the variational bottleneck of Alemi et al.
2017 (arXiv:1612.00410).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array


def structured_gaussian(
  dim: int = 10,
  auxiliaries: int = 1,
  main_steps: Scalar = 1000.0,
  auxiliary_steps: Scalar = 1000.0,
  scale_shift: Scalar = -5.0,
) -> Bottleneck:
  """Gives the code of the encoder that is being learned, and in the end a weighted sum of all.

  Formula: Z_b ~ N(mu_b(x), s_b(x)^2), s_b = softplus(raw + scale_shift), b = 0 the main code and
  b = 1..K the auxiliary ones; Z = sum_b w_b Z_b, which is Gaussian with mean sum_b w_b mu_b and
  variance sum_b w_b^2 s_b^2; rate = KL(p(z|x) || N(0, I)), summed over the dimensions. Stages:
  0, Z = Z_0; b = 1..K, Z = Z_b; K + 1, the mixture with learned w, which starts at (1, 0, ..., 0).
  Evaluation has the mixture throughout, so that before the last stage it is the main code's.

  The stage is counted in the bottleneck's state by the training batches it has seen. What a stage
  does not train is held by `ibjax.programs.structured`; with another program the encoders that a
  stage does not use get no gradient, but the decoder and an optimiser's momentum go on.

  Args:
    dim: width of each code.
    auxiliaries: K, number of auxiliary encoders; 0 is a plain Gaussian bottleneck in stage 0.
    main_steps: updates of stage 0; may be traced.
    auxiliary_steps: updates of each auxiliary stage; may be traced.
    scale_shift: added to the raw scale before the softplus; may be traced.

  Returns:
    A `Bottleneck`: features [n, 2 (K+1) dim] in, the means of all codes and then the scales
    (`ibjax.models.parallel_mlp`); `Code` with value [n, dim], rate [n] nats, and in aux "mean" and
    "log_scale" [n, dim], "log_prob" [n], "blocks" [n, K+1, dim], a sample of every code, "stage",
    an int32 scalar, and "weights" [K+1].

  Raises:
    InputError: a size out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.structured_gaussian import structured_gaussian
    >>> channel = structured_gaussian(dim=2, auxiliaries=1)
    >>> params, state = channel.init(jax.random.key(0))
    >>> features = jnp.zeros((3, channel.features))
    >>> code, state = channel.apply(params, state, features, key=jax.random.key(1), train=True)
    >>> code.value.shape, code.aux["blocks"].shape, int(state["step"])
    ((3, 2), (3, 2, 2), 1)

  Source: Yang et al. 2025 (AAAI), the mixture of main and auxiliary features and its three stages;
  the standard deviation is sqrt(sum w^2 s^2), in training and in evaluation.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("auxiliaries", auxiliaries, 0)
  checks.at_least("main_steps", main_steps, 1.0)
  checks.at_least("auxiliary_steps", auxiliary_steps, 0.0)
  blocks = auxiliaries + 1
  width = 2 * blocks * dim

  def init(key):
    del key
    weights = jnp.zeros(blocks).at[0].set(1.0)
    return {"weights": weights}, {"step": jnp.int32(0), "stage": jnp.int32(0)}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, width))
    parts = features.astype(jnp.float32).reshape(-1, 2, blocks, dim)
    means, scales = parts[:, 0], jax.nn.softplus(parts[:, 1] + scale_shift)
    weights, stage = params["weights"], jnp.int32(blocks)
    if train:
      # Each stage ends when its number of batches is full; the last one has no end.
      ends = main_steps + auxiliary_steps * jnp.arange(blocks)
      stage = jnp.sum(state["step"] >= ends, dtype=jnp.int32)
      weights = jnp.where(stage < blocks, jnp.arange(blocks) == stage, weights)
      state = {"step": state["step"] + 1, "stage": stage}
    noise = rng.normal(rng.stream(key, "bottleneck"), means.shape)
    mixed = weights[:, None] * means, jnp.square(weights[:, None] * scales)
    mean, variance = (jnp.sum(part, axis=1) for part in mixed)
    log_scale = 0.5 * jnp.log(jnp.maximum(variance, 1e-30))
    sampled = means + scales * noise
    value = jnp.sum(weights[:, None] * sampled, axis=1)
    standard = (value - mean) * jnp.exp(-log_scale)
    aux = {
      "mean": mean,
      "log_scale": log_scale,
      "log_prob": -0.5 * jnp.sum(jnp.square(standard) + 2.0 * log_scale + LOG_2PI, axis=-1),
      "blocks": sampled,
      "stage": stage,
      "weights": weights,
    }
    zero = jnp.zeros(dim)
    return Code(value, gaussian_kl(mean, log_scale, zero, zero), None, aux), state

  return Bottleneck(features=width, init=init, apply=apply)


def _raw(scale: float, shift: float = -5.0) -> float:
  return scale + math.log(-math.expm1(-scale)) - shift


def _features() -> Array:
  return jnp.array([[2.0, -1.0, _raw(0.5), _raw(0.25)]])


CASES = (
  Case(
    name="the main code alone at first",
    hyper=dict(dim=1, auxiliaries=1),
    inputs=lambda: dict(features=_features()),
    expected=dict(rate=[0.5 * (4.0 + 0.25 - 1.0) - math.log(0.5)]),
    source="closed form: the KL of N(2, 1/4) with N(0, 1)",
  ),
  Case(
    name="a mixture of two codes",
    hyper=dict(dim=1, auxiliaries=1),
    inputs=lambda: dict(params={"weights": jnp.array([0.5, 2.0])}, features=_features()),
    # Mean 1 - 2 = -1, variance 1/16 + 1/4 = 5/16.
    expected=dict(rate=[0.5 * (1.0 + 5 / 16 - 1.0 - math.log(5 / 16))]),
    source="closed form: the KL of N(-1, 5/16) with N(0, 1)",
  ),
)
