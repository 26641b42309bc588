"""A uniform variable and the same with uniform noise added."""

from __future__ import annotations

import math

import numpy as np

from ibjax.core import checks
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


FAMILIES = (additive,)
