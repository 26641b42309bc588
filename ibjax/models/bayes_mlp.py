"""Multi-layer perceptron with a Gaussian distribution over every weight.

Source: Blundell et al. 2015, "Weight uncertainty in neural networks" (arXiv:1505.05424), drawn by
the local reparameterisation of Kingma, Salimans and Welling 2015 (arXiv:1506.02557).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Case, Model, Scalar
from ibjax.models.mlp import ACTIVATIONS

Array = jax.Array


def bayes_mlp(
  hidden: tuple[int, ...] = (100, 100),
  out: int = 10,
  activation: str = "relu",
  activate_out: bool = False,
  prior_scale: Scalar = 1.0,
  init_scale: Scalar = 0.05,
  dtype: str = "float32",
) -> Model:
  """Fully connected layers whose weights and biases are independent Gaussians.

  Formula: w ~ q(w) = N(m, s^2), prior p(w) = N(0, prior_scale^2); kl_nats = sum_w KL(q || p).
  Given its input h, a unit's pre-activation is Gaussian, and it is what is drawn:
  a = h . m_w + m_b + sqrt(h^2 . s_w^2 + s_b^2) eps, eps ~ N(0, 1).

  The noise is independent for every row of x. A row's output is distributed exactly as under one
  draw of all weights (layers and units do not share weights), so averages over rows of the same
  example are averages over weights. Two rows do not share a draw: outputs of different examples
  are not jointly one function. With key None the posterior means are the weights.

  Args:
    hidden: widths of the hidden layers; () gives a linear map.
    out: width of the output.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    activate_out: apply the activation to the output too.
    prior_scale: standard deviation of the prior of every weight, > 0; may be traced.
    init_scale: standard deviation of the posterior of every weight at first, > 0; the means
      start as those of an ordinary network (LeCun).
    dtype: compute type, "float32" or "bfloat16"; parameters and variances stay float32.

  Returns:
    A `Model` with random=True: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], {"kl_nats": scalar})`.

  Raises:
    InputError: an unknown activation or dtype, a width below 1, a scale that is not positive.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.bayes_mlp import bayes_mlp
    >>> model = bayes_mlp(hidden=(8,), out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> x, key = jnp.ones((2, 4)), jax.random.key(1)
    >>> out, state = model.apply(params, state, x, key=key, train=False)
    >>> out.shape, bool(state["kl_nats"] > 0)
    ((2, 3), True)

  Source: Blundell et al. 2015 (arXiv:1505.05424), eqs. 1 and 2, with a Gaussian prior, for which
  the KL has a closed form; Kingma et al. 2015 (arXiv:1506.02557), eq. 6.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  for width in (*hidden, out):
    checks.at_least("a layer's width", width, 1)
  checks.at_least("prior_scale", prior_scale, 0.0, strict=True)
  checks.at_least("init_scale", init_scale, 0.0, strict=True)
  widths, compute = (*hidden, out), jnp.dtype(dtype)

  def init(key, x):
    before, layers = x.reshape(x.shape[0], -1).shape[1], {}
    log_scale = jnp.log(jnp.asarray(init_scale, jnp.float32))
    for index, width in enumerate(widths):
      kernel = jax.nn.initializers.lecun_normal()(rng.stream(key, "layer", index), (before, width))
      mean = {"kernel": kernel, "bias": jnp.zeros(width)}
      layers[f"dense_{index}"] = {
        "mean": mean,
        "log_scale": jax.tree.map(lambda m: jnp.zeros_like(m) + log_scale, mean),
      }
      before = width
    return layers, {"kl_nats": jnp.float32(0.0)}

  def apply(params, state, x, *, key, train):
    del state, train  # the weights are as random at evaluation
    h = x.reshape(x.shape[0], -1).astype(compute)
    for index in range(len(widths)):
      layer_key = None if key is None else rng.stream(key, "weights", index)
      h = _dense(params[f"dense_{index}"], h, layer_key)
      if index < len(widths) - 1 or activate_out:
        h = ACTIVATIONS[activation](h)
    return h, {"kl_nats": _kl(params, prior_scale)}

  return Model(init, apply, random=True)


def _dense(layer, h: Array, key: Array | None) -> Array:
  mean, log_scale = layer["mean"], layer["log_scale"]
  out = h @ mean["kernel"].astype(h.dtype) + mean["bias"].astype(h.dtype)
  if key is None:
    return out
  variances = jax.tree.map(lambda s: jnp.exp(2.0 * s), log_scale)
  variance = jnp.square(h.astype(jnp.float32)) @ variances["kernel"] + variances["bias"]
  # The root has an infinite slope at 0, where a posterior without spread ends.
  noise = jnp.sqrt(jnp.maximum(variance, 1e-30)) * rng.normal(key, variance.shape)
  return out + noise.astype(h.dtype)


def _kl(params, prior_scale: Scalar) -> Array:
  zero, log_prior = jnp.float32(0.0), jnp.log(jnp.asarray(prior_scale, jnp.float32))
  parts = [
    gaussian_kl(layer["mean"][name].ravel(), layer["log_scale"][name].ravel(), zero, log_prior)
    for layer in params.values()
    for name in ("kernel", "bias")
  ]
  return jnp.sum(jnp.stack(parts))


def _layer(kernel, bias):
  mean = {"kernel": kernel, "bias": bias}
  return {"mean": mean, "log_scale": jax.tree.map(jnp.zeros_like, mean)}


CASES = (
  Case(
    name="without a key, the network of the posterior means",
    hyper=dict(hidden=(2,), out=2),
    inputs=lambda: dict(
      params={f"dense_{i}": _layer(jnp.eye(2), jnp.array([0.5, -3.0])) for i in (0, 1)},
      x=jnp.array([[1.0, 2.0]]),
    ),
    expected=dict(out=[[2.0, -3.0]]),
    source="by hand: relu([1.5, -1]) + [0.5, -3]",
  ),
)
