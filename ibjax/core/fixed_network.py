"""A small network of fixed random weights that stands for the rest of a model."""

from __future__ import annotations

import numpy as np


def fixed_weights(width: int, hidden: int, out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Draws the weights of logits = relu(x A) B.

  Args:
    width: of the input.
    hidden: width of the hidden layer.
    out: number of logits.
    seed: of the draw.

  Returns:
    (A [width, hidden], B [hidden, out]), float32; Gaussian entries of the variances 2 / width and
    2 / hidden.

  Example:
    >>> from ibjax.core.fixed_network import fixed_weights
    >>> [w.shape for w in fixed_weights(4, 8, 3, seed=0)]
    [(4, 8), (8, 3)]
  """
  rng = np.random.default_rng([seed, width, hidden, out])
  first = np.sqrt(2.0 / width) * rng.normal(size=(width, hidden))
  last = np.sqrt(2.0 / hidden) * rng.normal(size=(hidden, out))
  return first.astype(np.float32), last.astype(np.float32)
