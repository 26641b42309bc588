"""A variance-preserving diffusion by its log signal-to-noise ratio, and scores turned into nats."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import rng

Array = jax.Array

# From noise alone to a noise of 0.25% of the signal. Beyond the upper end a density whose score
# changes over less than that (conditional standard deviations near 0.003) loses information.
LOWEST, HIGHEST = -9.0, 12.0


def levels(log_snr: Array) -> tuple[Array, Array]:
  """Gives the scales of signal and noise in x_t = signal x + noise z.

  Formula: signal^2 = 1 / (1 + e^-l), noise^2 = 1 / (1 + e^l), l the log signal-to-noise ratio.

  Args:
    log_snr: any shape.

  Returns:
    (signal, noise), same shape; their squares sum to one.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.diffusion import levels
    >>> [round(float(scale), 4) for scale in levels(jnp.float32(0.0))]
    [0.7071, 0.7071]
  """
  # From log-sigmoids, so that neither square root meets a rounded zero.
  return jnp.exp(0.5 * jax.nn.log_sigmoid(log_snr)), jnp.exp(0.5 * jax.nn.log_sigmoid(-log_snr))


def draw_log_snr(key: Array, n: int) -> Array:
  """Draws n log signal-to-noise ratios, evenly spaced from a random start.

  Formula: LOWEST + (HIGHEST - LOWEST) ((u + i / n) mod 1), u uniform.

  Each is uniform; together they cover the range without gaps, which lowers the variance of their
  mean. Row i gets the i-th, so rows must be in random order.

  Uniform in the log ratio is the importance sampling of MINDE, t drawn with density proportional
  to beta(t) / (1 - exp(-integral of beta)): that is the derivative of the log ratio, whatever the
  schedule beta.

  Args:
    key: a typed random key.
    n: how many.

  Returns:
    [n] in [LOWEST, HIGHEST].

  Source: Kingma et al. 2021, "Variational diffusion models" (arXiv:2107.00630), the spacing;
    Franzese et al. 2024 (arXiv:2310.09031), the distribution.
  """
  place = jnp.mod(rng.uniform(key, ()) + jnp.arange(n) / n, 1.0)
  return LOWEST + (HIGHEST - LOWEST) * place


def gap_nats(noise: Array, other: Array) -> Array:
  """Turns the difference of two predicted noises into nats, the difference inside the norm.

  Formula: KL = 1/2 integral beta(t) E|S(x_t) - S'(x_t)|^2 dt = 1/2 integral E|e - e'|^2 dl, with
  scores S = -e / noise(t), and l the log signal-to-noise ratio.

  Args:
    noise: [n, d] predicted noise e at ratios of `draw_log_snr`.
    other: [n, d] the other prediction e', at the same points.

  Returns:
    [n] whose mean is the divergence.
  """
  return 0.5 * (HIGHEST - LOWEST) * jnp.sum(jnp.square(noise - other), axis=-1)


def reference_gap_nats(
  noise: Array, noisy: Array, log_snr: Array, sigma: float | Array = 1.0
) -> Array:
  """Turns a predicted noise into nats of divergence from a Gaussian of standard deviation sigma.

  Formula: `gap_nats` with e' = noise(t) x_t / (signal^2 sigma^2 + noise^2), the exact prediction
  for N(0, sigma^2 I). Differences of such terms are MINDE's "difference outside" (sigma) forms.

  Args:
    noise: [n, d] predicted noise.
    noisy: [n, d] the points x_t.
    log_snr: [n] their ratios.
    sigma: standard deviation of the reference.

  Returns:
    [n] whose mean is the divergence.
  """
  a, s = (scale[:, None] for scale in levels(log_snr))
  return gap_nats(noise, s * noisy / (jnp.square(a * sigma) + jnp.square(s)))
