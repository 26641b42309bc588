"""Each column brought to a common scale, which no mutual information depends on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

TRANSFORMS = ("standardize", "ranks", "none")


def rescale(array: Any, transform: str) -> Any:
  """Rescales the columns of samples.

  Formula: "standardize": (x - mean) / sd. "ranks" (normal scores): Phi^-1((r - 1/2) / n) with r
  the rank, the mean rank where values tie. "none": x - mean, which keeps small differences from
  being rounded away.

  Args:
    array: [n, d] numbers; a numpy array stays one, in float64.
    transform: "standardize", "ranks" or "none".

  Returns:
    [n, d]; a constant column is 0.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.base.marginals import rescale
    >>> rescale(np.array([[1.0], [100.0], [3.0]]), "ranks").round(3).T.tolist()
    [[-0.967, 0.967, 0.0]]
  """
  if not isinstance(array, jax.Array):
    return _rescale(np, array, transform)
  # A loop of one turn, which no compiler can look into: else the scaled columns are worked out
  # again where they are used, with another rounding, and a row that lies at exactly the distance
  # of a neighbour no longer does. (A barrier does not last until fusion on CPUs.)
  turns = jnp.where(jnp.isnan(array).any(), 0, 1)
  return jax.lax.fori_loop(0, turns, lambda _, a: _rescale(jnp, a, transform), array)


def _rescale(lib: Any, array: Any, transform: str) -> Any:
  if transform == "ranks":
    return _scores(array)
  # Twice: after the first, the mean is small enough to be exact to the last digit.
  moved = array - lib.mean(array, axis=0)
  moved = moved - lib.mean(moved, axis=0)
  if transform == "none":
    return moved
  spread = lib.std(moved, axis=0)
  moved = lib.where(lib.ptp(array, axis=0) > 0, moved, 0.0)
  return moved / lib.where(spread > 0, spread, 1.0)


def _scores(array: Any) -> Any:
  n = len(array)
  if not isinstance(array, jax.Array):
    return np.stack([special.ndtri(_mean_ranks(np, column) / n) for column in array.T], axis=1)

  def one(column):
    return jax.scipy.special.ndtri(_mean_ranks(jnp, column).astype(column.dtype) / n)

  return jax.vmap(one, 1, 1)(array)


def _mean_ranks(lib: Any, column: Any) -> Any:
  """Ranks from 1/2 to n - 1/2."""
  ordered = lib.sort(column)
  low = lib.searchsorted(ordered, column, side="left")
  return 0.5 * (low + lib.searchsorted(ordered, column, side="right"))
