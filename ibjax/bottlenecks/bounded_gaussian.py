"""A bounded code with noise of a fixed size: what gives any code a finite information.

Source: Shannon 1949, "Communication in the presence of noise", the Gaussian channel, with a limit
on the amplitude of each dimension in place of one on the power.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import gaussian_kl, gaussian_log_prob
from ibjax.core.types import Bottleneck, Case, Code, Scalar


def bounded_gaussian(dim: int = 16, scale: Scalar = 0.5) -> Bottleneck:
  """Bounds every dimension to (-1, 1) and adds Gaussian noise of a fixed scale.

  Formula: z = tanh(f) + scale eps, eps ~ N(0, I); rate = KL(N(tanh f, scale^2) || N(0, 1 +
  scale^2)) >= I(X;Z) in expectation, as to any prior. I(X;Z) <= dim/2 log(1 + 1/scale^2), the
  capacity of the channel with this power.

  Use it for an objective that does not price noise: where the noise is learned, such an objective
  lets it vanish, and I(X;Z) has no limit. Here the noise stands, and codes can be compared by what
  they know of the input.

  Args:
    dim: width of the code.
    scale: standard deviation of the noise, > 0; may be traced.

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim], rate [n] nats, and in aux
    "mean" and "log_scale" [n, dim] and "log_prob" [n].

  Raises:
    InputError: a width below 1, a scale of 0 or less, features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.bounded_gaussian import bounded_gaussian
    >>> channel = bounded_gaussian(dim=2, scale=0.1)
    >>> code, _ = channel.apply({}, {}, 9.0 * jnp.ones((1, 2)), key=jax.random.key(0), train=True)
    >>> code.aux["mean"].tolist()
    [[1.0, 1.0]]

  Source: Shannon 1949 (doi:10.1109/JRPROC.1949.232969), theorem 2, for the capacity.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("scale", scale, 0.0, strict=True)

  def init(key):
    del key
    return {}, {}

  def apply(params, state, features, *, key, train):
    del params, train
    checks.shape("features", features, (None, dim))
    mean = jnp.tanh(features.astype(jnp.float32))
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    deviation = jnp.asarray(scale, jnp.float32)
    log_scale = jnp.full_like(mean, jnp.log(deviation))
    value = mean + deviation * noise
    wide = jnp.full(dim, 0.5 * jnp.log1p(jnp.square(deviation)))
    rate = gaussian_kl(mean, log_scale, jnp.zeros(dim), wide)
    log_prob = gaussian_log_prob(deviation * noise, jnp.zeros_like(mean), log_scale)
    aux = {"mean": mean, "log_scale": log_scale, "log_prob": log_prob}
    return Code(value, rate, None, aux), state

  return Bottleneck(features=dim, init=init, apply=apply)


CASES = (
  Case(
    name="a code at the origin knows nothing but its noise",
    hyper=dict(dim=2, scale=1.0),
    inputs=lambda: dict(features=jnp.zeros((1, 2))),
    # Two dimensions of KL(N(0, 1) || N(0, 2)) = 1/2 (1/2 - 1 + log 2).
    expected=dict(rate=[math.log(2.0) - 0.5]),
    source="closed form",
  ),
  Case(
    name="codes at the bounds pay the capacity in the mean",
    hyper=dict(dim=1, scale=0.5),
    inputs=lambda: dict(features=jnp.array([[50.0], [-50.0]])),
    expected=dict(rate=[0.5 * math.log(5.0), 0.5 * math.log(5.0)]),
    source="closed form: mean^2 + scale^2 is the prior's variance, so the rate is the capacity",
  ),
)
