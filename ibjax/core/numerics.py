"""Numerics that hold at the edges: Gaussian densities and divergences in log-scale form."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

Array = jax.Array

LOG_2PI = math.log(2.0 * math.pi)
NATS_PER_BIT = math.log(2.0)


def log_softplus(x: Array) -> Array:
  """Returns log(softplus(x)) without underflow: softplus(-200) is 0 in float32, its log is not.

  Formula: log log(1 + e^x); for x < -15 the series x - e^x / 2 (error below e^{2x} / 8).

  Args:
    x: any shape.

  Returns:
    Same shape.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.numerics import log_softplus
    >>> float(log_softplus(jnp.float32(-200.0)))
    -200.0
  """
  small = x < -15.0
  # Both branches must be finite with finite gradients, or jnp.where passes a NaN back.
  safe = jnp.where(small, 0.0, x)
  tail = jnp.minimum(x, -15.0)
  return jnp.where(small, tail - 0.5 * jnp.exp(tail), jnp.log(jax.nn.softplus(safe)))


def inverse_softplus(y: float) -> float:
  """Returns x with softplus(x) = y, for y > 0 (a Python number, used to initialise).

  Args:
    y: a positive number.

  Returns:
    A Python float.
  """
  return y + math.log(-math.expm1(-y))


def gaussian_log_prob(x: Array, mean: Array, log_scale: Array) -> Array:
  """Log density of a diagonal Gaussian.

  Formula: -1/2 sum_d [((x - mean) / scale)^2 + 2 log scale + log 2 pi].

  Args:
    x: [..., d].
    mean: [..., d], broadcast against x.
    log_scale: [..., d], log of the standard deviation.

  Returns:
    [...] in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.numerics import gaussian_log_prob
    >>> round(float(gaussian_log_prob(jnp.zeros(2), jnp.zeros(2), jnp.zeros(2))), 6)
    -1.837877
  """
  standard = (x - mean) * jnp.exp(-log_scale)
  return -0.5 * jnp.sum(jnp.square(standard) + 2.0 * log_scale + LOG_2PI, axis=-1)


def gaussian_kl(mean: Array, log_scale: Array, mean_2: Array, log_scale_2: Array) -> Array:
  """Kullback-Leibler divergence between diagonal Gaussians, KL(N_1 || N_2).

  Formula: 1/2 sum_d [(s1^2 + (m1 - m2)^2) / s2^2 - 1] + log s2 - log s1.

  Args:
    mean: [..., d] mean m1.
    log_scale: [..., d] log s1.
    mean_2: [..., d] mean m2, broadcast.
    log_scale_2: [..., d] log s2, broadcast.

  Returns:
    [...] in nats, never negative beyond rounding.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.numerics import gaussian_kl
    >>> z = jnp.zeros(1)
    >>> float(gaussian_kl(z + 1.0, z, z, z))
    0.5
  """
  difference = log_scale - log_scale_2
  # expm1(2d) - 2d keeps the digits when the two scales are nearly equal.
  spread = jnp.expm1(2.0 * difference) - 2.0 * difference
  shift = jnp.square((mean - mean_2) * jnp.exp(-log_scale_2))
  return 0.5 * jnp.sum(spread + shift, axis=-1)


def entropy(probs: Array) -> Array:
  """Shannon entropy of a discrete distribution.

  Formula: -sum_c p_c log p_c, with 0 log 0 = 0.

  Args:
    probs: [..., c], summing to one over the last axis.

  Returns:
    [...] in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.numerics import entropy
    >>> float(entropy(jnp.array([1.0, 0.0])))
    0.0
  """
  return -jnp.sum(jax.scipy.special.xlogy(probs, probs), axis=-1) + 0.0
