"""Agglomerative information bottleneck: clusters merged two by two, from T = X to one.

Source: Slonim and Tishby 2000, "Agglomerative information bottleneck" (NIPS 12:617-623).
"""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from ibjax.core import checks
from ibjax.exact.joint import checked_joint


def agglomerative_ib(joint: np.ndarray, beta: float = np.inf) -> np.ndarray:
  """Merges the pair of clusters that costs least, until one is left.

  Formula: merging i and j changes H(T) / beta - I(T;Y) by
  (p_i + p_j) JS(p(y|i), p(y|j)) - (eta(p_i) + eta(p_j) - eta(p_i + p_j)) / beta, eta(p) =
  -p log p, and the Jensen-Shannon divergence weighted by p_i and p_j.

  Args:
    joint: [kx, ky] p(x, y).
    beta: Tishby's beta, greater than 0, which multiplies I(T;Y) against H(T); infinite (the
      paper's algorithm) merges by the loss of I(T;Y) alone.

  Returns:
    [kx, kx] labels: row k - 1 is the clustering into k clusters, numbered by their first letter.

  Raises:
    InputError: a table that is no joint distribution, or a beta out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.agglomerative_ib import agglomerative_ib
    >>> agglomerative_ib(np.array([[0.3, 0.1], [0.0, 0.3], [0.2, 0.1]])).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 1, 2]]

  Source: Slonim and Tishby 2000, the merging cost as a Jensen-Shannon divergence.
  """
  joint = checked_joint(joint)
  checks.at_least("beta", beta, 0.0, strict=True)
  size = len(joint)
  both, alive = joint.copy(), np.ones(size, bool)
  labels = np.arange(size)
  cost = np.full((size, size), np.inf)
  for i in range(size - 1):
    cost[i, i + 1 :] = merge_costs(both[i], both[i + 1 :], beta)
  path = [labels]
  for _ in range(size - 1):
    i, j = divmod(int(np.argmin(cost)), size)  # i < j
    both[i] += both[j]
    alive[j] = False
    labels = np.where(labels == j, i, labels)
    path.append(labels)
    cost[j, :] = cost[:, j] = np.inf
    others = np.flatnonzero(alive & (np.arange(size) != i))
    renewed = merge_costs(both[i], both[others], beta)
    cost[np.minimum(i, others), np.maximum(i, others)] = renewed
  return np.array([np.unique(labels, return_inverse=True)[1] for labels in path[::-1]])


def merge_costs(one: np.ndarray, others: np.ndarray, beta: float) -> np.ndarray:
  """What merging one cluster with each of some others adds to H(T) / beta - I(T;Y).

  Args:
    one: [ky] p(t, y) of the cluster.
    others: [n, ky] of the others.
    beta: weight of I(T;Y) against H(T); may be infinite.

  Returns:
    [n] nats.
  """
  return cluster_terms(one, beta) + cluster_terms(others, beta) - cluster_terms(one + others, beta)


def cluster_terms(both: np.ndarray, beta: float | np.ndarray) -> np.ndarray:
  """What clusters add to I(T;Y) - H(T) / beta, the constant H(Y) aside.

  Formula: sum_y p(t, y) log p(t, y) - p(t) log p(t) (1 - 1/beta).

  Args:
    both: [..., ky] p(t, y); a cluster of zeros adds 0.
    beta: weight of I(T;Y) against H(T); may be infinite, and an array of the leading axes.

  Returns:
    [...] nats.
  """
  weight = both.sum(axis=-1)
  return xlogy(both, both).sum(axis=-1) - xlogy(weight, weight) * (1.0 - 1.0 / beta)
