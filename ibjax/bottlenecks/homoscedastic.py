"""Gaussian channel with one noise scale for all inputs and all dimensions of the code.

Source: Kolchinsky, Tracey and Wolpert 2019, "Nonlinear information bottleneck" (Entropy
21(12):1181, arXiv:1705.02436).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar


def homoscedastic(dim: int = 10, scale: Scalar = 1.0) -> Bottleneck:
  """Adds noise of one learned scale to the encoder's output.

  Formula: z = mu(x) + sigma eps, eps ~ N(0, I), sigma = softplus(s + softplus^-1(scale)), s one
  parameter, 0 at first; rate = KL(N(mu, sigma^2 I) || N(0, I)) >= I(X;Z) in expectation.

  Use it for `nonlinear_ib`, whose bound is for this channel, and wherever the amount of noise, not
  its shape, is to be learned. The rate is to the prior N(0, I) so that it is on the axis of VIB;
  an objective that does not pay for it leaves it loose, since nothing pulls the codes to the prior.

  Args:
    dim: width of the code.
    scale: the noise's standard deviation at first, > 0; may be traced.

  Returns:
    A `Bottleneck`: features [n, dim], the means, in; `Code` with value [n, dim], rate [n] nats,
    and in aux "mean" and "log_scale" [n, dim] and "log_prob" [n], the log density of the value
    under the encoder.

  Raises:
    InputError: a dim below 1, a scale that is not positive, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.homoscedastic import homoscedastic
    >>> channel = homoscedastic(dim=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(
    ...   params, state, jnp.zeros((3, 2)), key=jax.random.key(1), train=True)
    >>> code.rate.tolist()  # a standard normal code of every input
    [0.0, 0.0, 0.0]

  Source: Kolchinsky et al. 2019 (arXiv:1705.02436), section 3 (the encoder with one noise
  variance); the prior is that of Alemi et al. 2017 (arXiv:1612.00410).
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("scale", scale, 0.0, strict=True)

  def init(key):
    return {"noise": jnp.float32(0.0)}, {}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, dim))
    mean = features.astype(jnp.float32)
    raw = params["noise"] + scale + jnp.log(-jnp.expm1(-jnp.asarray(scale, jnp.float32)))
    log_scale = jnp.broadcast_to(log_softplus(raw), mean.shape)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    value = mean + jax.nn.softplus(raw) * noise
    # From the noise itself: (value - mean) / scale loses it when the scale goes to 0.
    log_prob = -0.5 * jnp.sum(jnp.square(noise) + 2.0 * log_scale + LOG_2PI, axis=-1)
    rate = gaussian_kl(mean, log_scale, jnp.zeros(dim), jnp.zeros(dim))
    aux = {"mean": mean, "log_scale": log_scale, "log_prob": log_prob}
    return Code(value, rate, None, aux), state

  return Bottleneck(features=dim, init=init, apply=apply)


CASES = (
  Case(
    name="one scale for all dimensions",
    hyper=dict(dim=2, scale=0.5),
    inputs=lambda: dict(features=jnp.array([[2.0, 0.0]])),
    expected=dict(rate=[0.5 * 4.0 + 2 * (0.5 * (0.25 - 1.0) - math.log(0.5))]),
    source="closed form: sum over dimensions of (m^2 + s^2 - 1) / 2 - log s",
  ),
  Case(
    name="a learned change of the scale",
    hyper=dict(dim=1, scale=1.0),
    inputs=lambda: dict(
      params={"noise": jnp.float32(math.log(math.expm1(2.0)) - math.log(math.expm1(1.0)))},
      features=jnp.array([[0.0]]),
    ),
    expected=dict(rate=[0.5 * 3.0 - math.log(2.0)]),
    source="closed form: softplus^-1 differences make the scale 2",
  ),
)
