"""Couplings of small joint entropy: the joint of given marginals with the most information.

Of two marginals, I(X;Y) = H(X) + H(Y) - H(X,Y), so the coupling of least entropy is the one of
largest information. To find it is NP-hard; two greedy rules come close, and all vertices of the
polytope of couplings can be looked at when it is tiny.

Source: Ebrahimi, Chen and Khisti 2024 (arXiv:2410.21666), section 2 and table 1, for the names of
the two greedy rules; Kocaoglu, Dimakis, Vishwanath and Hassibi 2017 (arXiv:1611.04035), algorithm
1, for the rule that seeks the largest masses.
"""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np

from ibjax.core.errors import InputError

# How far from one the sum of given probabilities may be.
SUM_TOLERANCE = 1e-6
# A vertex has n + m - 1 of n m cells: beyond this many choices, enumerating takes minutes.
MAX_CHOICES = 200_000


def check_distribution(name: str, p: np.ndarray) -> np.ndarray:
  """Checks a distribution, and makes its sum one to the last digit.

  Args:
    name: how the caller calls it, for the message.
    p: [n] probabilities.

  Returns:
    [n] float64.

  Raises:
    InputError: not one axis, no entry, a negative or not finite entry, or a sum that is not one.

  Example:
    >>> from ibjax.exact.entropy_coupling import check_distribution
    >>> check_distribution("p", [0.25, 0.75]).tolist()
    [0.25, 0.75]
  """
  p = np.asarray(p, np.float64)
  if p.ndim != 1 or p.size == 0:
    raise InputError(f"{name} has shape {list(p.shape)}, expected [n] with n at least 1.")
  if not np.all(np.isfinite(p)) or np.any(p < 0):
    raise InputError(f"{name} holds {p.min():g}; expected finite probabilities of at least 0.")
  if abs(p.sum() - 1.0) > SUM_TOLERANCE:
    raise InputError(f"{name} sums to {p.sum():.9g}, expected 1; divide it by its sum.")
  return p / p.sum()


def entropy(p: np.ndarray) -> float:
  """Shannon entropy of a table of probabilities, in float64.

  Formula: -sum p log p, with 0 log 0 = 0.

  Args:
    p: probabilities, any shape.

  Returns:
    Nats.

  Example:
    >>> from ibjax.exact.entropy_coupling import entropy
    >>> round(entropy([[0.5, 0.0], [0.0, 0.5]]), 6)
    0.693147
  """
  p = np.asarray(p, np.float64)
  p = p[p > 0]
  return float(-np.sum(p * np.log(p))) + 0.0


def information(joint: np.ndarray) -> float:
  """Mutual information of a joint table.

  Formula: I(X;Y) = H(X) + H(Y) - H(X,Y).

  Args:
    joint: [n, m], summing to one.

  Returns:
    Nats, at least 0.

  Example:
    >>> from ibjax.exact.entropy_coupling import information
    >>> import numpy as np
    >>> round(information(np.eye(2) / 2), 6)
    0.693147
  """
  joint = np.asarray(joint, np.float64)
  return max(0.0, entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint))


def independent(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  """The product of two marginals: the coupling of largest entropy, H(p) + H(q).

  Args:
    p: [n] a distribution.
    q: [m] a distribution.

  Returns:
    [n, m] the joint.

  Raises:
    InputError: a marginal that is none.

  Example:
    >>> from ibjax.exact.entropy_coupling import independent
    >>> independent([0.5, 0.5], [0.5, 0.5]).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
  """
  return np.outer(check_distribution("p", p), check_distribution("q", q))


def max_seeking(*marginals: np.ndarray) -> np.ndarray:
  """Couples the largest masses left, again and again; for two marginals or more.

  Formula: with i_k the largest mass left of marginal k and r the least of these masses,
  joint[i_1, ..., i_K] += r and every mass loses r, until none is left. Each step uses one mass up,
  so at most sum_k n_k - K + 1 cells are not 0. Ties are broken by the lower index.

  For two marginals the joint entropy is less than one bit above the least (Rossi 2019,
  arXiv:1905.00914).

  Args:
    *marginals: distributions, [n_1], [n_2], ...

  Returns:
    [n_1, n_2, ...] the joint, whose marginals are the given ones to rounding.

  Raises:
    InputError: fewer than two marginals, or one that is no distribution.

  Example:
    >>> from ibjax.exact.entropy_coupling import max_seeking
    >>> max_seeking([0.5, 0.5], [0.75, 0.25]).tolist()
    [[0.5, 0.0], [0.25, 0.25]]

  Source: Kocaoglu et al. 2017 (arXiv:1611.04035), algorithm 1.
  """
  if len(marginals) < 2:
    raise InputError(f"found {len(marginals)} marginals, expected at least 2 to couple.")
  checked = [check_distribution(f"marginal {k}", p) for k, p in enumerate(marginals)]
  joint = np.zeros([len(p) for p in checked])
  heaps = [[(-mass, i) for i, mass in enumerate(p.tolist()) if mass > 0] for p in checked]
  for heap in heaps:
    heapq.heapify(heap)
  cells: list[tuple[int, ...]] = []
  steps: list[float] = []
  while all(heaps):
    tops = [heap[0] for heap in heaps]
    step = -max(tops)[0]  # masses are stored with a minus, so this is the least of the largest
    cells.append(tuple([i for _, i in tops]))
    steps.append(step)
    for heap, (mass, i) in zip(heaps, tops):
      # A mass that equals the step is used up exactly: no dust of rounding is left of it.
      if -mass == step:
        heapq.heappop(heap)
      else:
        heapq.heapreplace(heap, (mass + step, i))
  np.add.at(joint, tuple(np.array(cells).T), steps)
  return joint / joint.sum()


def zero_seeking(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  """Couples the two masses left that are nearest to each other, so that least is left over.

  Formula: with (i, j) the pair of least |p_i - q_j| among the masses left and r the lesser of the
  two, joint[i, j] += r and both lose r, until none is left. Ties are broken by the larger mass,
  then by the lower index.

  Assumption: the rule is inferred from its name and from the joint entropies that table 1 reports
  (it gives the same within their spread); its text was not at hand.

  Args:
    p: [n] a distribution.
    q: [m] a distribution.

  Returns:
    [n, m] the joint, whose marginals are p and q to rounding.

  Raises:
    InputError: a marginal that is none.

  Example:
    >>> from ibjax.exact.entropy_coupling import zero_seeking
    >>> zero_seeking([0.6, 0.4], [0.4, 0.3, 0.3]).round(6).tolist()
    [[0.0, 0.3, 0.3], [0.4, 0.0, 0.0]]

  Source: Ebrahimi et al. 2024, table 1 (the name).
  """
  p, q = check_distribution("p", p), check_distribution("q", q)
  joint = np.zeros((len(p), len(q)))
  left_p, left_q = p.copy(), q.copy()
  alive_p, alive_q = left_p > 0, left_q > 0
  while alive_p.any() and alive_q.any():
    rows, columns = np.flatnonzero(alive_p), np.flatnonzero(alive_q)
    a, b = left_p[rows, None], left_q[None, columns]
    step = np.minimum(a, b)
    gap = np.abs(a - b)
    nearest = np.flatnonzero(gap <= gap.min())
    best = nearest[np.argmax(step.ravel()[nearest])]
    i, j = rows[best // len(columns)], columns[best % len(columns)]
    mass = min(left_p[i], left_q[j])
    joint[i, j] += mass
    left_p[i] -= mass
    left_q[j] -= mass
    alive_p[i], alive_q[j] = left_p[i] > 0, left_q[j] > 0
  return joint / joint.sum()


def lower_bound(p: np.ndarray, q: np.ndarray) -> float:
  """A bound below the joint entropy of every coupling of two marginals.

  Formula: H(p meet q), where the meet is the largest distribution that both majorise: with both
  sorted from the largest, its partial sums are the lesser of the two. It is at least
  max(H(p), H(q)).

  Args:
    p: [n] a distribution.
    q: [m] a distribution.

  Returns:
    Nats.

  Raises:
    InputError: a marginal that is none.

  Example:
    >>> from ibjax.exact.entropy_coupling import entropy, lower_bound
    >>> lower_bound([0.5, 0.5], [0.5, 0.5]) == entropy([0.5, 0.5])
    True

  Source: Cicalese, Gargano and Vaccaro 2019 (arXiv:1901.07530), theorem 2.
  """
  p, q = check_distribution("p", p), check_distribution("q", q)
  size = max(len(p), len(q))
  sums = [np.cumsum(np.pad(np.sort(v)[::-1], (0, size - len(v)))) for v in (p, q)]
  return entropy(np.diff(np.minimum(*sums), prepend=0.0))


def exact(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  """The coupling of least entropy, by looking at every vertex: for tiny alphabets.

  Formula: argmin of H(X,Y) over the joints with marginals p and q. Entropy is concave, so the
  least value is at a vertex of that polytope; a vertex has at most n + m - 1 cells that are not 0,
  and they solve the n + m - 1 independent equations of the marginals.

  Args:
    p: [n] a distribution.
    q: [m] a distribution.

  Returns:
    [n, m] a joint of least entropy.

  Raises:
    InputError: a marginal that is none, or more than `MAX_CHOICES` choices of cells.

  Example:
    >>> from ibjax.exact.entropy_coupling import entropy, exact
    >>> best = exact([0.5, 0.25, 0.25], [0.5, 0.5])
    >>> round(entropy(best) - entropy([0.5, 0.25, 0.25]), 6)
    0.0
  """
  p, q = check_distribution("p", p), check_distribution("q", q)
  n, m = len(p), len(q)
  count = math.comb(n * m, n + m - 1)
  if count > MAX_CHOICES:
    raise InputError(
      f"marginals of {n} and {m} letters have {count} sets of cells to look at, expected at most "
      f"{MAX_CHOICES}; use max_seeking."
    )
  cells = np.array(list(itertools.combinations(range(n * m), n + m - 1)))
  # One equation per letter; the last follows from the others, since both marginals sum to one.
  equations = np.zeros((n + m, n * m))
  for cell in range(n * m):
    equations[cell // m, cell] = equations[n + cell % m, cell] = 1.0
  systems = np.moveaxis(equations[:-1][:, cells], 1, 0)
  bases = np.abs(np.linalg.det(systems)) > 0.5  # a basis has determinant 1 or -1
  cells, systems = cells[bases], systems[bases]
  wanted = np.concatenate([p, q])[:-1]
  masses = np.linalg.solve(systems, np.broadcast_to(wanted, systems.shape[:2])[..., None])[..., 0]
  feasible = np.all(masses >= -1e-12, axis=1)
  cells, masses = cells[feasible], np.maximum(masses[feasible], 0.0)
  best = int(np.argmin([entropy(row) for row in masses]))
  joint = np.zeros(n * m)
  joint[cells[best]] = masses[best]
  return joint.reshape(n, m)
