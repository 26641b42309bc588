"""Multi-layer perceptron that prunes its own units: a noisy multiplicative gate on each.

Source: Dai et al. 2018, "Compressing neural networks using the variational information
bottleneck" (arXiv:1802.10399); as the self-pruned network of Chang et al. 2023, "Contrastive
variational information bottleneck for aspect-based sentiment analysis" (arXiv:2303.02846).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Case, Model, Scalar
from ibjax.models.mlp import ACTIVATIONS

Array = jax.Array


def gated_mlp(
  hidden: tuple[int, ...] = (1024, 1024),
  out: int = 10,
  activation: str = "relu",
  init_log_variance: Scalar = -9.0,
  threshold: Scalar = 0.0,
  dtype: str = "float32",
) -> Model:
  """Fully connected layers; every unit, of the output too, is multiplied by a noisy gate.

  Formula: h_l = (m_l + v_l^(1/2) eps) * activation(W_l h_{l-1} + b_l), eps ~ N(0, 1) drawn for
  every unit and example in training; evaluation multiplies by m_l, or by 0 where
  log(v / m^2) >= threshold: there the noise outweighs the unit, and it is pruned. The output
  layer has a gate and no activation.
  kl_nats = sum over units of log(1 + m^2 / v) / 2: what an example pays, on the empirical-Bayes
  prior (a zero-mean Gaussian of the best variance, for each unit), for passing all gates.

  Args:
    hidden: widths of the hidden layers; () gives one gated linear layer.
    out: width of the output.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    init_log_variance: log v of every gate at first; the gates start at m = 1. May be traced.
    threshold: of log(v / m^2), from which on a unit is pruned in evaluation; may be traced.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`, the state with "kl_nats", a
    scalar, and in "metrics" the share of pruned units, "pruned_frac". With key None there is no
    noise.

  Raises:
    InputError: an unknown activation or dtype, or a width below 1.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.gated_mlp import gated_mlp
    >>> model = gated_mlp(hidden=(8,), out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> out, state = model.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> out.shape, float(state["metrics"]["pruned_frac"])
    ((2, 3), 0.0)

  Source: Dai et al. 2018 (arXiv:1802.10399), the gates, their penalty and the rule of pruning;
  the layers' penalties are added with equal weight.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  for width in (*hidden, out):
    checks.at_least("a layer's width", width, 1)
  widths = (*hidden, out)

  def init(key, x):
    before, layers = x.reshape(x.shape[0], -1).shape[1], {}
    log_variance = jnp.asarray(init_log_variance, jnp.float32)
    for index, width in enumerate(widths):
      normal = jax.nn.initializers.lecun_normal()
      layers[f"dense_{index}"] = {
        "kernel": normal(rng.stream(key, "layer", index), (before, width)),
        "bias": jnp.zeros(width),
        "gate": {"mean": jnp.ones(width), "log_variance": jnp.zeros(width) + log_variance},
      }
      before = width
    return layers, {"kl_nats": jnp.float32(0.0), "metrics": {"pruned_frac": jnp.float32(0.0)}}

  def apply(params, state, x, *, key, train):
    del state
    h = x.reshape(x.shape[0], -1).astype(dtype)
    kl, pruned = jnp.float32(0.0), jnp.float32(0.0)
    for index in range(len(widths)):
      layer = params[f"dense_{index}"]
      mean, log_variance = layer["gate"]["mean"], layer["gate"]["log_variance"]
      h = h @ layer["kernel"].astype(h.dtype) + layer["bias"].astype(h.dtype)
      if index < len(widths) - 1:
        h = ACTIVATIONS[activation](h)
      # log(m^2 / v); a gate of exactly 0 has no slope, so it is kept off it.
      log_snr = jnp.log(jnp.maximum(jnp.square(mean), 1e-30)) - log_variance
      out_of_use = -log_snr >= threshold
      kl = kl + 0.5 * jnp.sum(jax.nn.softplus(log_snr))
      pruned = pruned + jnp.sum(out_of_use, dtype=jnp.float32)
      gate = mean if train else jnp.where(out_of_use, 0.0, mean)
      if train and key is not None:
        noise = rng.normal(rng.stream(key, "gate", index), h.shape)
        gate = gate + jnp.exp(0.5 * log_variance) * noise
      h = h * gate.astype(h.dtype)
    return h, {"kl_nats": kl, "metrics": {"pruned_frac": pruned / sum(widths)}}

  return Model(init, apply)


def _layer(kernel: Array, mean: Array, log_variance: Array):
  gate = {"mean": mean, "log_variance": log_variance}
  return {"kernel": kernel, "bias": jnp.zeros(kernel.shape[1]), "gate": gate}


CASES = (
  Case(
    name="a unit whose noise outweighs it is pruned",
    hyper=dict(hidden=(2,), out=1),
    inputs=lambda: dict(
      params={
        "dense_0": _layer(jnp.eye(2), jnp.array([2.0, 0.5]), jnp.array([0.0, 0.0])),
        "dense_1": _layer(jnp.ones((2, 1)), jnp.array([3.0]), jnp.array([0.0])),
      },
      x=jnp.array([[1.0, 10.0]]),
    ),
    expected=dict(out=[[6.0]]),
    source="by hand: 3 (2 relu(1) + 0): the second unit has v = 1 > m^2 = 1/4",
  ),
)
