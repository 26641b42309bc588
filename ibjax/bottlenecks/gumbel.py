"""A categorical code that is drawn, with gradients by the Gumbel softmax.

Source: Jang, Gu and Poole 2017, "Categorical reparameterization with Gumbel-softmax"
(arXiv:1611.01144).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.codebooks import used
from ibjax.bottlenecks.quantiser import layout
from ibjax.core import checks, rng
from ibjax.core.types import Bottleneck, Case, Code, Scalar


def gumbel(
  dim: int = 64,
  codes: int = 512,
  positions: int = 1,
  heads: int = 1,
  initial_temperature: Scalar = 1.0,
  final_temperature: Scalar = 0.1,
  anneal_steps: Scalar = 10_000,
  hard: bool = True,
) -> Bottleneck:
  """Draws each symbol from a distribution that the features give, and looks it up.

  Formula: features are logits l; in training w = softmax((l + g) / t), g Gumbel noise, and the
  value is sum_j w_j e_j, or with `hard` the code of the largest w_j by value, with w's gradient.
  t goes from initial to final geometrically: initial (final / initial)^min(1, step / anneal_steps).
  In evaluation a symbol is drawn from softmax(l). rate = KL(softmax(l) || uniform) nats, summed
  over symbols: an upper bound on I(X;Z) of a drawn symbol; that of a soft w may be larger.

  Use it when the code is to be stochastic: its rate has a gradient, so that VIB's or beta-VAE's
  beta decides how many bits are used, and nothing else (no commitment, no codebook loss) is needed.

  Args:
    dim: width of the whole code, positions * heads * d.
    codes: symbols, >= 2.
    positions: of an example; they share the codebooks.
    heads: symbols at a position, each with a codebook of its own.
    initial_temperature: t at the first step, > 0.
    final_temperature: t from `anneal_steps` on, > 0.
    anneal_steps: steps between the two, >= 1.
    hard: pass on a code, not a mixture of codes.

  Returns:
    A `Bottleneck`: features [n, positions * heads * codes] in; `Code` with value [n, dim], rate [n]
    nats, bits [n], the exact positions * heads * log2(codes), and in aux "indices" [n, positions *
    heads] int32 and "alphabet" [n]. Metrics as of `vq`, of the symbols drawn, and temperature.

  Raises:
    InputError: positions and heads that do not divide dim, a setting out of range.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.gumbel import gumbel
    >>> channel = gumbel(dim=1, codes=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> sure = jnp.array([[500.0, -500.0]])
    >>> code, _ = channel.apply(params, state, sure, key=jax.random.key(1), train=True)
    >>> bool(code.value[0, 0] == params["codebook"][0, 0, 0]), round(float(code.rate[0]), 4)
    (True, 0.6931)

  Source: Jang et al. 2017 (arXiv:1611.01144), eq. 2 and section 2.2 (straight through); Maddison et
  al. 2017 (arXiv:1611.00712).
  """
  checks.at_least("codes", codes, 2)
  checks.at_least("initial_temperature", initial_temperature, 0.0, strict=True)
  checks.at_least("final_temperature", final_temperature, 0.0, strict=True)
  checks.at_least("anneal_steps", anneal_steps, 1)
  cut = layout("gumbel", dim, positions, heads)
  logits = cut._replace(width=codes)
  features_width = positions * heads * codes
  bits = positions * heads * math.log2(codes)

  def temperature(step):
    t = jnp.minimum(1.0, step / anneal_steps)
    ratio = jnp.log(jnp.asarray(final_temperature / initial_temperature, jnp.float32))
    return initial_temperature * jnp.exp(t * ratio)

  def report(index, weights, step):
    found = {**used(index, codes, weights), "code_bits": jnp.float32(bits)}
    return {**found, "temperature": jnp.asarray(temperature(step), jnp.float32)}

  def init(key):
    codebook = rng.normal(rng.stream(key, "codebook"), (heads, codes, cut.width))
    one = jnp.ones((heads, 1))
    step = jnp.int32(0)
    state = {"step": step, "metrics": report(jnp.zeros_like(one, jnp.int32), one, step)}
    return {"codebook": codebook / math.sqrt(cut.width)}, state

  def apply(params, state, features, *, key, train, mask=None):
    checks.shape("features", features, (None, features_width))
    n = features.shape[0]
    given = logits.split(features.astype(jnp.float32))  # [heads, v, codes]
    uniform = rng.uniform(rng.stream(key, "bottleneck"), given.shape) + 2.0**-24
    noisy = given - jnp.log(-jnp.log(uniform))
    index = jnp.argmax(noisy, axis=-1).astype(jnp.int32)
    one_hot = jax.nn.one_hot(index, codes)
    weights = logits.weights(given, mask)
    soft = jax.nn.softmax(noisy / temperature(state["step"]), axis=-1)
    mixed = soft if train and not hard else soft + jax.lax.stop_gradient(one_hot - soft)
    value = jnp.einsum("gvk,gkd->gvd", mixed, params["codebook"])
    log_p = jax.nn.log_softmax(given, axis=-1)
    rate = jnp.sum(jnp.exp(log_p) * log_p, axis=-1) + math.log(codes)
    aux = {
      "indices": cut.per_example(index).reshape(n, -1),
      "alphabet": jnp.full(n, codes, jnp.int32),
    }
    step = state["step"] + int(train)
    state = {"step": step, "metrics": report(index, weights, state["step"])}
    code = Code(
      cut.per_example(value).reshape(n, dim),
      jnp.sum(cut.per_example(rate), axis=(1, 2)),
      jnp.full(n, bits, jnp.float32),
      aux,
    )
    return code, state

  return Bottleneck(features=features_width, init=init, apply=apply, masks=True)


CASES = (
  Case(
    name="features that are sure draw their code, for its whole price",
    hyper=dict(dim=2, codes=2),
    inputs=lambda: dict(
      params={"codebook": jnp.array([[[1.0, 2.0], [3.0, 4.0]]])},
      features=jnp.array([[900.0, -900.0], [-900.0, 900.0]]),
    ),
    expected=dict(value=[[1.0, 2.0], [3.0, 4.0]], rate=[math.log(2.0)] * 2, bits=[1.0, 1.0]),
    source="limit: KL of a point mass to even odds",
  ),
  Case(
    name="even odds cost nothing",
    hyper=dict(dim=1, codes=4),
    inputs=lambda: dict(
      params={"codebook": jnp.ones((1, 4, 1))}, features=jnp.array([[2.0, 2.0, 2.0, 2.0]])
    ),
    expected=dict(value=[[1.0]], rate=[0.0], bits=[2.0]),
    source="definition; all codes are alike, so that whichever is drawn has this value",
  ),
)
