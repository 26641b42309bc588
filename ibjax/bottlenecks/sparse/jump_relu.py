"""JumpReLU sparse autoencoder: a threshold per latent that is learned through pseudo-derivatives.

Source: Rajamanoharan et al. 2024, "Jumping ahead: improving reconstruction fidelity with JumpReLU
sparse autoencoders" (arXiv:2407.14435).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def jump_relu(
  dim: int = 512,
  latents: int = 4096,
  bandwidth: Scalar = 0.05,
  threshold: Scalar = 0.1,
  speed: Scalar = 10.0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from latents above a learned threshold each, and counts them.

  Formula: a = (x - b_dec) W_enc' + b_enc; z = a 1[a > theta]; value = z W_dec + b_dec; sparsity =
  sum_j 1[a_j > theta_j]. Pseudo-derivatives, K(u) = 1[|u| < 1/2], e the bandwidth: of z by theta
  -(theta / e) K((a - theta) / e); of the count by theta -(1 / e) K((a - theta) / e), by a zero.

  Use it when the price of a latent should be per latent that is active (the objective's beta), not
  per size of its activation: nothing shrinks.

  theta = threshold exp(speed s), s from 0. Adam moves a parameter by about its learning rate a
  step, whatever the gradient, so that theta changes by the fraction speed times the learning
  rate: without the factor thresholds hardly move in a short run. Parameters are float32 whatever
  config.train.compute_dtype is; held in bfloat16, thresholds move too, as s starts at 0, near which
  small steps are not rounded away. The bandwidth must suit the scale of activations: no example
  within half of it of a threshold, and that threshold does not move.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    bandwidth: e > 0, in the unit of activations; may be traced.
    threshold: theta at first, > 0; may be traced.
    speed: > 0, how fast thresholds move; may be traced.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "latents"
    [n, latents], "sparsity", "l0" and "revival" [n].

  Raises:
    InputError: a keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.jump_relu import jump_relu
    >>> channel = jump_relu(dim=4, latents=16)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> code.value.shape, code.aux["latents"].shape
    ((2, 4), (2, 16))

  Source: Rajamanoharan et al. 2024 (arXiv:2407.14435), eq. 5, 9, 11 and 12; the scale of theta is
  our own.
  """
  for name, value in (("bandwidth", bandwidth), ("threshold", threshold), ("speed", speed)):
    checks.at_least(name, value, 0.0, strict=True)
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def start(key, params):
    return {**params, "threshold": jnp.zeros(latents)}

  def activate(params, own, x, *, key, train, step):
    scores = dictionary.project(params, x)
    theta = threshold * jnp.exp(speed * params["threshold"])
    width = jnp.asarray(bandwidth, jnp.float32)
    z, active = jump(scores, theta, width), above(scores, theta, width)
    return dictionary.dense(params, z, scores, own, sparsity=jnp.sum(active, axis=-1))

  return dictionary.build(shared, activate, start=start)


@jax.custom_vjp
def jump(a: Array, theta: Array, bandwidth: Array) -> Array:
  """JumpReLU, with the pseudo-derivative by its threshold.

  Formula: a 1[a > theta]; derivatives 1[a > theta] by a, -(theta / e) K((a - theta) / e) by theta.

  Args:
    a: [n, latents].
    theta: [latents], positive.
    bandwidth: e > 0, a scalar; no gradient passes.

  Returns:
    [n, latents].

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.jump_relu import jump
    >>> by_theta = jax.grad(lambda t: jump(jnp.array([[1.1]]), t, jnp.float32(0.5)).sum())
    >>> by_theta(jnp.array([1.0])).tolist()
    [-2.0]
  """
  return jnp.where(a > theta, a, 0.0)


def _jump_forward(a, theta, bandwidth):
  return jump(a, theta, bandwidth), (a, theta, bandwidth)


def _jump_backward(kept, g):
  a, theta, bandwidth = kept
  by_theta = -jnp.sum(theta / bandwidth * _kernel(a, theta, bandwidth) * g, axis=0)
  return jnp.where(a > theta, g, 0.0), by_theta, None


jump.defvjp(_jump_forward, _jump_backward)


@jax.custom_vjp
def above(a: Array, theta: Array, bandwidth: Array) -> Array:
  """The step function, with the pseudo-derivative by its threshold.

  Formula: 1[a > theta]; derivatives 0 by a, -(1 / e) K((a - theta) / e) by theta.

  Args:
    a: [n, latents].
    theta: [latents].
    bandwidth: e > 0, a scalar; no gradient passes.

  Returns:
    [n, latents].

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.jump_relu import above
    >>> by_theta = jax.grad(lambda t: above(jnp.array([[0.9]]), t, jnp.float32(0.5)).sum())
    >>> by_theta(jnp.array([1.0])).tolist()
    [-2.0]
  """
  return (a > theta).astype(a.dtype)


def _above_forward(a, theta, bandwidth):
  return above(a, theta, bandwidth), (a, theta, bandwidth)


def _above_backward(kept, g):
  a, theta, bandwidth = kept
  by_theta = -jnp.sum(_kernel(a, theta, bandwidth) / bandwidth * g, axis=0)
  return jnp.zeros_like(a), by_theta, None


above.defvjp(_above_forward, _above_backward)


def _kernel(a: Array, theta: Array, bandwidth: Array) -> Array:
  return (jnp.abs(a - theta) < 0.5 * bandwidth).astype(a.dtype)


CASES = (
  Case(
    name="above and below the threshold",
    hyper=dict(dim=1, latents=2, threshold=1.0),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.array([[1.0], [0.4]]),
        "b_enc": jnp.zeros(2),
        "W_dec": jnp.array([[2.0], [7.0]]),
        "b_dec": jnp.array([1.0]),
        "threshold": jnp.zeros(2),
      },
      features=jnp.array([[3.0]]),
    ),
    expected=dict(value=[[5.0]]),
    source="by hand: a = (2, 0.8), theta = 1; 2 * 2 + 1",
  ),
)
