"""A table p(x, y): checked, and what an encoder p(t|x) takes and keeps of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import rel_entr, xlogy

from ibjax.core.errors import InputError


class Plane(NamedTuple):
  """Where encoders of a table lie, in nats; arrays of the encoders' leading axes.

  Attributes:
    rate_nats: I(X;T).
    relevance_nats: I(T;Y).
    entropy_nats: H(T).
  """

  rate_nats: np.ndarray
  relevance_nats: np.ndarray
  entropy_nats: np.ndarray


def checked_joint(joint: np.ndarray) -> np.ndarray:
  """Checks a joint table.

  Args:
    joint: [kx, ky] p(x, y), rows are values of X.

  Returns:
    The same in float64, its rounding error of the sum removed.

  Raises:
    InputError: not a table, NaN, negative entries, a sum other than 1 (by more than 1e-6), or a
      row or a column of zeros.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.joint import checked_joint
    >>> checked_joint(np.eye(2) / 2).sum()
    np.float64(1.0)
  """
  table = np.asarray(joint, np.float64)
  if table.ndim != 2 or 0 in table.shape:
    raise InputError(
      f"joint has shape {list(table.shape)}, expected [kx, ky]: p(x, y), a row an x."
    )
  if not np.isfinite(table).all():
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(table))[0])
    raise InputError(f"joint is {table[at]} at {at}, expected finite probabilities.")
  if table.min() < 0:
    at = tuple(int(i) for i in np.unravel_index(table.argmin(), table.shape))
    raise InputError(
      f"joint is {table[at]:g} at {at}, expected probabilities of at least 0. Counts and "
      "probabilities are never negative: was a log or a difference passed?"
    )
  total = table.sum()
  if abs(total - 1.0) > 1e-6:
    raise InputError(
      f"joint sums to {total:g}, expected 1. Counts become probabilities by joint / joint.sum(); "
      "rows p(y|x) by p_x[:, None] * p_y_given_x."
    )
  for axis, what in ((1, "row"), (0, "column")):
    empty = np.flatnonzero(table.sum(axis=axis) == 0)
    if len(empty):
      raise InputError(
        f"joint has {len(empty)} {what}s of zeros, the first is {what} {empty[0]}: a value that "
        f"never occurs has no p(.|value). Drop them, e.g. by joint[joint.sum(1) > 0] for rows."
      )
  return table / total


def information(joint: np.ndarray) -> float:
  """I(X;Y) of a table.

  Formula: sum p(x, y) log(p(x, y) / (p(x) p(y))).

  Args:
    joint: [kx, ky], summing to 1.

  Returns:
    Nats.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.joint import information
    >>> round(information(np.eye(2) / 2), 6)
    0.693147
  """
  joint = np.asarray(joint, np.float64)
  return float(rel_entr(joint, joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)).sum())


def place(joint: np.ndarray, encoder: np.ndarray) -> Plane:
  """Where encoders lie in the information plane.

  Args:
    joint: [kx, ky], summing to 1.
    encoder: [..., kx, kt] p(t|x), rows summing to 1.

  Returns:
    A `Plane` of arrays [...], nats.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.joint import place
    >>> [round(float(value), 6) for value in place(np.eye(2) / 2, np.eye(2))]
    [0.693147, 0.693147, 0.693147]
  """
  weight = joint.sum(axis=1)
  cluster = np.einsum("x,...xt->...t", weight, encoder)
  entropy = -xlogy(cluster, cluster).sum(axis=-1)
  noise = -np.einsum("x,...xt->...", weight, xlogy(encoder, encoder))
  both = np.einsum("xy,...xt->...ty", joint, encoder)
  independent = cluster[..., :, None] * joint.sum(axis=0)
  relevance = rel_entr(both, independent).sum(axis=(-2, -1))
  # A code that knows nothing rounds to -1e-16.
  return Plane(np.maximum(entropy - noise, 0.0), np.maximum(relevance, 0.0), entropy)


def one_hot(labels: np.ndarray, clusters: int | None = None) -> np.ndarray:
  """The encoder of hard clusterings.

  Args:
    labels: [..., kx] integers.
    clusters: width of the code; one more than the largest label when None.

  Returns:
    [..., kx, clusters] zeros and ones.
  """
  return np.eye(int(labels.max()) + 1 if clusters is None else clusters)[labels]


def critical_beta(joint: np.ndarray) -> float:
  """The beta at which the code that knows nothing stops being a local optimum.

  Formula: 1 / sigma_2^2, sigma_2 the second singular value of p(x, y) / sqrt(p(x) p(y)) (the first
  is 1). This is Tishby's beta, which multiplies I(T;Y). A code that jumps away from nothing (a
  transition of first order) may be better below it already.

  Args:
    joint: [kx, ky], see `checked_joint`.

  Returns:
    A number of at least 1; infinite when X and Y are independent.

  Raises:
    InputError: see `checked_joint`.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.joint import critical_beta
    >>> round(critical_beta(np.array([[0.45, 0.05], [0.05, 0.45]])), 6)  # 1 / (1 - 2 p)^2
    1.5625
  """
  joint = checked_joint(joint)
  return float(split_betas(joint, np.ones((len(joint), 1)))[0])


def split_betas(joint: np.ndarray, encoder: np.ndarray) -> np.ndarray:
  """The beta above which each cluster of an encoder gains by splitting in two.

  Formula: 1 / sigma_2^2 of cluster t, sigma_2 the second singular value of
  p(x, y|t) / sqrt(p(x|t) p(y|t)), p(x, y|t) = p(x|t) p(y|x).

  Args:
    joint: [kx, ky], summing to 1.
    encoder: [kx, kt] p(t|x).

  Returns:
    [kt], infinite for a cluster that is empty or of which all members have one p(y|x).
  """
  found = np.full(encoder.shape[1], np.inf)
  given = joint / joint.sum(axis=1, keepdims=True)
  for t, members in enumerate((joint.sum(axis=1)[:, None] * encoder).T):
    if members.sum() == 0:
      continue
    members = members / members.sum()
    mean = members @ given
    deviation = np.sqrt(members)[:, None] * (given - mean)  # the first singular pair removed
    used = mean > 0
    values = np.linalg.svd(deviation[:, used] / np.sqrt(mean[used]), compute_uv=False)
    if values[0] > 1e-12:
      found[t] = values[0] ** -2.0
  return found
