"""A variable and the same with noise added that is uniform, or has two modes."""

from __future__ import annotations

import math

import numpy as np

from ibjax.core import checks
from ibjax.data.synthetic.quadrature import normal_mixture_entropy
from ibjax.data.synthetic.task import Arrays, Task, column, family, joint


@family
def additive(epsilon: float = 0.1) -> Task:
  """Uniform x on [0, 1], and y = x + noise that is uniform on [-epsilon, epsilon].

  Formula: I(X;Y) = 1 / (4 epsilon) if epsilon > 1/2, else epsilon - log(2 epsilon).

  Args:
    epsilon: half the width of the noise, above 0.

  Returns:
    A `Task`.

  Raises:
    InputError: epsilon is not positive.
  """
  checks.at_least("epsilon", epsilon, 0.0, strict=True)
  nats = 1.0 / (4.0 * epsilon) if epsilon > 0.5 else epsilon - math.log(2.0 * epsilon)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = rng.uniform(0.0, 1.0, n)
    return column(x), column(x + rng.uniform(-epsilon, epsilon, n))

  # h(Y) = I + h(Y|X), and the noise is uniform.
  entropies = joint(0.0, nats + math.log(2.0 * epsilon), nats)
  return Task("additive", 1, 1, nats, sample, "closed form: I = h(Y) - h(noise)", entropies)


@family
def bimodal_noise(offset: float = 2.0, scale: float = 0.5) -> Task:
  """Standard normal x, and y = x + noise whose density has two modes.

  Formula: I(X;Y) = h(Y) - h(noise), both mixtures of two normals, by quadrature.

  Args:
    offset: the modes are at -offset and offset.
    scale: standard deviation of each mode, above 0.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("offset", offset, 0.0)
  checks.at_least("scale", scale, 0.0, strict=True)
  weights, means = (0.5, 0.5), (-offset, offset)
  y = normal_mixture_entropy(weights, means, (math.hypot(1.0, scale),) * 2)
  nats = y - normal_mixture_entropy(weights, means, (scale, scale))

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = rng.standard_normal(n)
    noise = offset * rng.choice([-1.0, 1.0], n) + scale * rng.standard_normal(n)
    return column(x), column(x + noise)

  entropies = joint(0.5 * math.log(2.0 * math.pi * math.e), y, nats)
  return Task("bimodal_noise", 1, 1, nats, sample, "quadrature: I = h(Y) - h(noise)", entropies)


FAMILIES = (additive, bimodal_noise)
