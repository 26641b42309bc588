"""Entropies of mixtures of normals on the line, by a sum that converges faster than any power."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

_STEPS_A_SCALE = 64  # per standard deviation of the narrowest normal
_FAR = 14.0  # standard deviations: beyond, less than 1e-40 of the mass
_BLOCK = 1 << 16  # points looked at together


def normal_mixture_entropy(
  weights: npt.ArrayLike, means: npt.ArrayLike, scales: npt.ArrayLike
) -> float:
  """Differential entropy of a mixture of normals of one dimension.

  The trapezium rule on an analytic function that vanishes at both ends has an error that falls
  exponentially in the number of points.

  Args:
    weights: probabilities, summing to 1; normals of weight 0 are left out.
    means: of the normals.
    scales: standard deviations, positive.

  Returns:
    Nats, to 1e-10 or better.

  Example:
    >>> import math
    >>> one = normal_mixture_entropy([1.0], [3.0], [2.0])
    >>> abs(one - 0.5 * math.log(2 * math.pi * math.e * 4)) < 1e-12
    True
  """
  w, mu, s = (np.asarray(values, np.float64) for values in (weights, means, scales))
  w, mu, s = w[w > 0], mu[w > 0], s[w > 0]
  low, high = np.min(mu - _FAR * s), np.max(mu + _FAR * s)
  step = np.min(s) / _STEPS_A_SCALE
  count = math.ceil((high - low) / step) + 1
  constant = np.log(w) - np.log(s) - 0.5 * math.log(2.0 * math.pi)
  total = 0.0
  for start in range(0, count, _BLOCK):
    points = low + step * np.arange(start, min(start + _BLOCK, count))
    log_p = logsumexp(constant - 0.5 * ((points[:, None] - mu) / s) ** 2, axis=1)
    total -= float(np.sum(np.exp(log_p) * log_p))
  return float(step * total)
