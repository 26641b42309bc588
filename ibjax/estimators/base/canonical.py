"""Gaussian mutual information from canonical correlations, without its finite-sample bias."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from ibjax.core.errors import InputError
from ibjax.core.estimate import Note, Value

# Singular values below this share of the largest are rounding: the column depends on others.
RANK = {8: 1e-10, 4: 1e-5}


def gaussian_information(method: str, x: Any, y: Any) -> Value:
  """Estimates I(X;Y) of jointly Gaussian columns.

  Formula: -1/2 sum_i log(1 - r_i^2) - b, with r_i the canonical correlations and
  b = 1/2 sum_{j=1..d_y} [psi((n - j)/2) - psi((n - d_x - j)/2)], which makes it unbiased, since
  the log-determinant of a Wishart matrix of n - 1 degrees has the mean of log det plus
  sum_j psi((n - j)/2) + d log 2. Standard error: sqrt(max(v - d_x d_y/(n - 1), 0)/n + w), with v
  the variance of the rows' log density ratios and w a quarter of the variance of log Wilks'
  lambda at independence, sum_{j=1..d_y} [psi'((n - d_x - j)/2) - psi'((n - j)/2)].

  Args:
    method: the estimator's name, for errors.
    x: [n, d_x] float columns without missing values, of numpy or traced.
    y: [n, d_y].

  Returns:
    A `Value` with local values, standard error and `canonical_correlations`. Columns that depend
    linearly on others of the same array count once.

  Raises:
    InputError: d_x + d_y above n - 2, where canonical correlations of 1 are certain.
  """
  traced = isinstance(x, jax.Array)
  lib, functions = (jnp, jax.scipy.special) if traced else (np, special)
  n = len(x)
  if x.shape[1] + y.shape[1] > n - 2:
    raise InputError(
      f"{method}: {x.shape[1]} + {y.shape[1]} columns and {n} rows; the columns of x and y must be "
      f"{n - 2} or fewer in all. Give more rows, or reduce the dimension (principal components)."
    )
  (basis_x, rank_x), (basis_y, rank_y) = (_basis(lib, array) for array in (x, y))
  left, r, right = lib.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
  r = lib.clip(r, 0.0, 1.0)
  rest = 1.0 - r**2
  tiny = RANK[np.dtype(x.dtype).itemsize]
  singular = lib.any(rest < tiny)
  rest = lib.maximum(rest, tiny)
  plug_in = -0.5 * lib.sum(lib.log(rest))

  few = min(x.shape[1], y.shape[1])
  low, high = lib.minimum(rank_x, rank_y), lib.maximum(rank_x, rank_y)
  j = lib.arange(1, few + 1)
  used = j <= low

  def total(of):
    near, far = (n - j) / 2, lib.maximum(n - high - j, 1) / 2
    return 0.5 * lib.sum(lib.where(used, of(near) - of(far), 0.0))

  nats = plug_in - total(functions.digamma)
  u, v = np.sqrt(n) * (basis_x @ left), np.sqrt(n) * (basis_y @ right.T)
  # log p(u, v) / p(u) p(v) of each pair of canonical variables.
  ratio = -0.5 * (lib.log(rest) + (r**2 * (u**2 + v**2) - 2 * r * u * v) / rest)
  local = lib.sum(ratio, axis=1)
  spread = lib.maximum(lib.var(local) - rank_x * rank_y / (n - 1), 0.0) / n
  degenerate = -0.5 * total(lambda t: functions.polygamma(1, t))
  notes: tuple[Note, ...] = ()
  if not traced and singular:
    notes = (
      Note(
        "linear_dependence",
        "a linear combination of x equals one of y to rounding: the information of continuous "
        "variables is infinite there, and the number shown is the precision's.",
      ),
    )
  return Value(
    nats,
    local=local - lib.mean(local) + nats,
    stderr=lib.sqrt(spread + degenerate),
    extra={"canonical_correlations": r},
    notes=notes,
  )


def _basis(lib: Any, array: Any) -> tuple[Any, Any]:
  """An orthonormal basis of the centred columns, [n, d] with zeros past the rank, and the rank."""
  moved = array - lib.mean(array, axis=0)
  length = lib.sqrt(lib.sum(moved**2, axis=0))
  # A constant column keeps rounding errors, which must not be blown up to a column.
  rounding = lib.finfo(array.dtype).eps * np.sqrt(len(array)) * lib.max(lib.abs(array), axis=0)
  varies = length > 4 * rounding
  scaled = lib.where(varies, moved / lib.where(varies, length, 1.0), 0.0)
  left, s, _ = lib.linalg.svd(scaled, full_matrices=False)
  kept = s > RANK[np.dtype(array.dtype).itemsize] * s[0]
  return lib.where(kept, left, 0.0), lib.sum(kept & (s[0] > 0))
