"""Where along the discrete information bottleneck's curve new clusters appear.

Beta is Tishby's, it multiplies I(T;Y); this project's beta, the price of a nat, is one over it.

Source: Tishby, Pereira and Bialek 1999, "The information bottleneck method"
(arXiv:physics/0004057), the hierarchy of bifurcations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibjax.core import checks
from ibjax.exact.discrete_ib import discrete_ib, used_clusters
from ibjax.exact.joint import checked_joint, critical_beta

_APART = 1e-2  # how far two clusters' p(y|t) are, in sum, when they count as two
_GRID = 64
_MOST = 30  # halvings of an interval


class CriticalBetas(NamedTuple):
  """The transitions that were found, by rising beta.

  Attributes:
    betas: [n] where more clusters come into use.
    clusters: [n + 1] how many are in use below the first, between them, and above the last.
  """

  betas: np.ndarray
  clusters: np.ndarray


def critical_betas(
  joint: np.ndarray, highest: float = 100.0, accuracy: float = 1e-3, seed: int = 0
) -> CriticalBetas:
  """Finds the betas at which the optimal code starts to use more clusters.

  A grid of solutions brackets the transitions, then each is halved. Transitions closer together
  than the grid (7% of beta up to 100) may be found as one, which adds several clusters. One of
  second order begins with clusters that hardly differ, and is placed where they do by 0.01.

  Args:
    joint: [kx, ky] p(x, y), rows are values of X.
    highest: the largest beta looked at, greater than 1. Rare values of X may part beyond it.
    accuracy: relative, of each beta.
    seed: see `discrete_ib`.

  Returns:
    A `CriticalBetas`. The first is at most `critical_beta(joint)`, at which the trivial code loses
    its stability, and is equal to it unless the code jumps there.

  Raises:
    InputError: a table that is no joint distribution, or a number out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.critical_betas import critical_betas
    >>> found = critical_betas(np.array([[0.45, 0.05], [0.05, 0.45]]))
    >>> found.clusters.tolist(), bool(abs(found.betas[0] / 1.5625 - 1) < 2e-3)
    ([1, 2], True)
  """
  joint = checked_joint(joint)
  checks.at_least("highest", highest, 1.0, strict=True)
  checks.at_least("accuracy", accuracy, 0.0, strict=True)

  def count(betas):
    solved = discrete_ib(joint, betas, tolerance=1e-12, cycles=2000, seed=seed)
    return np.array([used_clusters(joint, encoder, _APART) for encoder in solved.encoders])

  grid = np.geomspace(1.0, highest, _GRID)
  # Solutions may differ by a copy of a cluster; more clusters at a larger beta are what counts.
  counts = np.maximum.accumulate(count(grid))
  steps = np.flatnonzero(np.diff(counts) > 0)
  low, high, before = grid[steps], grid[steps + 1], counts[steps]
  for _ in range(_MOST):
    if not len(steps) or np.all(high <= low * (1.0 + accuracy)):
      break
    middle = np.sqrt(low * high)
    more = count(middle) > before
    low, high = np.where(more, low, middle), np.where(more, middle, high)
  found = np.sqrt(low * high)
  if len(found) and counts[0] == 1:
    found[0] = min(found[0], critical_beta(joint))
  return CriticalBetas(found, np.append(before, counts[-1:]))
