"""The deterministic information bottleneck: hard clusterings that pay H(T) in place of I(X;T).

Beta is Tishby's, it multiplies I(T;Y); this project's beta, the price of a nat, is one over it.

Source: Strouse and Schwab 2017, "The deterministic information bottleneck" (Neural Computation
29:1611, arXiv:1604.00268).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibjax.core import checks
from ibjax.exact.agglomerative_ib import agglomerative_ib
from ibjax.exact.discrete_ib import checked_betas
from ibjax.exact.joint import checked_joint, one_hot, place
from ibjax.exact.sequential_ib import move_letters

_SWEEPS = 100
_ROUNDS = 8


class DeterministicIb(NamedTuple):
  """The solved curve; arrays are over the betas, in the order in which they were asked for.

  Attributes:
    betas: [b], each multiplies I(T;Y).
    labels: [b, kx] the cluster of each x.
    relevance_nats: [b] I(T;Y).
    entropy_nats: [b] H(T), which is I(X;T) too.
    lagrangian_nats: [b] H(T) - beta I(T;Y).
  """

  betas: np.ndarray
  labels: np.ndarray
  relevance_nats: np.ndarray
  entropy_nats: np.ndarray
  lagrangian_nats: np.ndarray


def deterministic_ib(
  joint: np.ndarray, betas: np.ndarray, restarts: int = 16, seed: int = 0
) -> DeterministicIb:
  """Solves min H(T) - beta I(T;Y) over hard clusterings t(x), at each beta.

  The paper updates all letters at once, t(x) = argmax log p(t) - beta KL(p(y|x) || p(y|t)), which
  counts a letter's weight in its own cluster and so stops at many local optima. Here letters move
  one by one at what the move really costs, clusters merge when that is worth it, starts are T = X,
  the agglomerative path and random clusterings, and betas take over each other's results until
  none gains.

  Formula: min over t(x) of H(T) - beta I(T;Y).

  Args:
    joint: [kx, ky] p(x, y), rows are values of X.
    betas: [b] Tishby's beta, at least 0, in any order; this project's is one over it.
    restarts: random clusterings that each beta starts from, beside those named above.
    seed: of them, and of the order in which letters move.

  Returns:
    A `DeterministicIb`. Local search: exact against enumeration on small tables (see the tests),
    no proof on large ones.

  Raises:
    InputError: a table that is no joint distribution, a beta or restarts out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.deterministic_ib import deterministic_ib
    >>> joint = np.array([[0.3, 0.0], [0.2, 0.0], [0.0, 0.5]])
    >>> deterministic_ib(joint, np.array([2.0])).labels.tolist()
    [[0, 0, 1]]

  Source: Strouse and Schwab 2017, the deterministic Lagrangian.
  """
  joint = checked_joint(joint)
  betas = checked_betas(betas)
  checks.at_least("restarts", restarts, 0)
  size, rng = len(joint), np.random.default_rng(seed)
  weights = np.maximum(betas, 1e-12)  # at beta = 0 one cluster is best, as just above it
  path = agglomerative_ib(joint)
  sizes = rng.integers(1, size + 1, size=(restarts, 1))
  pool = np.concatenate([path, rng.integers(0, 1 << 30, size=(restarts, size)) % sizes])
  pool = np.unique(_numbered(pool), axis=0)
  best = np.full(len(betas), np.inf)
  labels = np.zeros((len(betas), size), np.int64)
  for turn in range(_ROUNDS):
    if turn == 0:
      starts, owner = np.tile(pool, (len(betas), 1)), np.repeat(np.arange(len(betas)), len(pool))
    else:  # the few that are best for a beta among all that were found
      order = np.argsort(_costs(joint, pool, weights), axis=1)[:, :3]
      starts, owner = pool[order.reshape(-1)], np.repeat(np.arange(len(betas)), order.shape[1])
    found = move_letters(joint, starts, size, weights[owner], _SWEEPS, rng)
    found = _merge(joint, found, weights[owner])
    pool = np.unique(np.concatenate([_numbered(found), labels]), axis=0)
    costs = _costs(joint, pool, weights)
    won = costs.min(axis=1) < best - 1e-12
    if not won.any():
      break
    labels[won] = pool[costs.argmin(axis=1)][won]
    best[won] = costs.min(axis=1)[won]
  plane = place(joint, one_hot(labels, size))
  lagrangian = plane.entropy_nats - betas * plane.relevance_nats
  return DeterministicIb(betas, labels, plane.relevance_nats, plane.entropy_nats, lagrangian)


def _numbered(labels: np.ndarray) -> np.ndarray:
  """Clusters numbered in the order of their first letter, so that equal clusterings are equal."""
  first = (labels[:, :, None] == labels[:, None, :]).argmax(axis=2)
  new = first == np.arange(labels.shape[1])
  return np.take_along_axis(np.cumsum(new, axis=1) - 1, first, axis=1)


def _costs(joint: np.ndarray, labels: np.ndarray, betas: np.ndarray) -> np.ndarray:
  """H(T) - beta I(T;Y) of every clustering at every beta, [b, n]."""
  plane = place(joint, one_hot(labels, len(joint)))
  return plane.entropy_nats - betas[:, None] * plane.relevance_nats


def _merge(joint: np.ndarray, labels: np.ndarray, betas: np.ndarray) -> np.ndarray:
  """Each clustering followed by the agglomerative path from it, where that is better."""
  merged = []
  for one, beta in zip(labels, betas):
    both = one_hot(one).T @ joint
    path = agglomerative_ib(both[both.sum(1) > 0], beta)
    used = np.unique(one, return_inverse=True)[1]
    candidates = path[:, used]
    merged.append(candidates[np.argmin(_costs(joint, candidates, np.array([beta])))])
  return np.array(merged)
