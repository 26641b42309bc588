"""Entropy-bounded information maximisation: the code T of X that says most, with H(T) at most R.

T reaches a receiver through a lossless channel of R nats, so its entropy is bounded, not its
information: I(X;T) <= H(T) <= R. A deterministic code has I(X;T) = H(T), but the entropies of
deterministic codes are finitely many; what they leave of R, a code that sends a part of one
letter's mass elsewhere uses.

Source: Ebrahimi, Chen and Khisti 2024, "Minimum entropy coupling with bottleneck"
(arXiv:2410.21666), section 3. Its algorithm 1 and theorem 3 were known here by their descriptions
(columns of the joint are merged, by the smallest or the largest sums; the gap is at most the binary
entropy of the second largest mass; around a deterministic map one cell is split); the order of
merging in `greedy` and the proof of its gap are ours.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ibjax.core.errors import InputError
from ibjax.exact.entropy_coupling import check_distribution, entropy, information

# Bell's number of 8 letters: every partition of them, times its single splits, takes seconds.
MAX_LETTERS = 8
# Entropies that differ by less are equal: sums of the same masses in another order.
TOLERANCE = 1e-12


class Code(NamedTuple):
  """A code of X, and how near to what was asked it comes.

  Attributes:
    joint: [n, k] of X and T; every column has mass.
    rate_nats: H(T), at most the limit.
    information_nats: I(X;T).
    limit_nats: R, as asked.
    shortfall_nats: min(R, H(X)) - I(X;T): how far it may at most be from the best code.
  """

  joint: np.ndarray
  rate_nats: float
  information_nats: float
  limit_nats: float
  shortfall_nats: float

  @property
  def channel(self) -> np.ndarray:
    """[n, k] p(t|x); a letter without mass is sent to every t alike."""
    mass = self.joint.sum(1, keepdims=True)
    uniform = np.full(self.joint.shape, 1.0 / self.joint.shape[1])
    return np.divide(self.joint, mass, out=uniform, where=mass > 0)


def greedy(p_x: np.ndarray, rate_nats: float, *, split: bool = True) -> Code:
  """A code of nearly the largest information with H(T) <= R, in O(n log n) merges.

  Formula: max I(X;T) subject to H(T) <= R. Two ways of merging letters are followed from T = X
  until H(T) <= R, and the code of larger information is taken: (1) the two largest letters of T
  are merged as long as that keeps H(T) >= R, else the two smallest; (2) the letters of X, from the
  largest, are merged into one. With `split`, the rest of R is used by one split (see `splits`).

  The gap: in (2) the letter of mass q that joins a cluster of mass s costs
  (s + q) h(q / (s + q)) <= h(q), and q <= p_2, the second largest mass, which is at most 1/2; the
  steps lead from H(X) to 0, so the first code with H(T) <= R has I(X;T) = H(T) >= R - h(p_2), with
  h the binary entropy.

  Use it when the alphabet is too large for `exact`.

  Args:
    p_x: [n] distribution of X.
    rate_nats: R, at least 0. More than H(X) gives T = X.
    split: spend the rest of R on a stochastic letter; without it the code is deterministic.

  Returns:
    A `Code`. Where H(T) cannot be R (a deterministic code), its rate is the nearest found below.

  Raises:
    InputError: p_x is no distribution, or the rate is negative or NaN.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.entropy_bounded_information import greedy
    >>> code = greedy(np.full(3, 1 / 3), np.log(2), split=False)
    >>> round(code.rate_nats, 6), round(code.information_nats, 6), code.joint.shape
    (0.636514, 0.636514, (3, 2))

  Source: Ebrahimi et al. 2024, algorithm 1 and theorem 2 (the gap); see the module.
  """
  p_x, rate = _checked(p_x, rate_nats)
  if rate >= entropy(p_x) - TOLERANCE:
    return _code(np.diag(p_x), rate_nats)
  found = []
  for above, below in (_merge_extremes(p_x, rate), _merge_into_largest(p_x, rate)):
    found.append(_code(_joint(p_x, below), rate_nats))
    if split:
      candidates = [*_near(_joint(p_x, below)), *_near(_joint(p_x, above))]
      found += [_code(joint, rate_nats) for joint in _at_rate(candidates, rate)]
  return max(found, key=lambda code: code.information_nats)


def uniform_quantizer(p_x: np.ndarray, rate_nats: float) -> Code:
  """The usual compression: neighbouring letters share one of floor(e^R) bins of equal size.

  Formula: t(x) = floor(x k / n), k = min(n, floor(e^R)); so H(T) <= log k <= R.

  Assumption: the baseline's text was not at hand; this is the quantiser of as many bins as R can
  tell apart, over the letters in their order.

  Args:
    p_x: [n] distribution of X.
    rate_nats: R, at least 0.

  Returns:
    A `Code`, deterministic.

  Raises:
    InputError: p_x is no distribution, or the rate is negative or NaN.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.entropy_bounded_information import uniform_quantizer
    >>> code = uniform_quantizer(np.full(4, 0.25), np.log(2))
    >>> code.joint.tolist()
    [[0.25, 0.0], [0.25, 0.0], [0.0, 0.25], [0.0, 0.25]]

  Source: Ebrahimi et al. 2024, algorithm 5 (the name).
  """
  p_x, rate = _checked(p_x, rate_nats)
  n = len(p_x)
  # The largest whole number whose logarithm is not above R, rounding aside.
  bins = n if rate >= np.log(n) else max(1, int(np.floor(np.exp(rate) * (1 + TOLERANCE))))
  return _code(_joint(p_x, np.arange(n) * bins // n), rate_nats)


def exact(p_x: np.ndarray, rate_nats: float) -> Code:
  """The best code for a tiny alphabet: every deterministic map, and every split of one letter.

  Formula: max I(X;T) subject to H(T) <= R over deterministic maps and maps with one letter whose
  mass goes to two columns.

  Assumption: that no code with more than one split is better is how the paper describes the
  optimum near deterministic maps (theorem 3); over the whole range of R it is not proved. Tests
  compare it with a search over all channels.

  Args:
    p_x: [n] distribution of X, n at most 8.
    rate_nats: R, at least 0.

  Returns:
    A `Code`.

  Raises:
    InputError: p_x is no distribution or has too many letters, or the rate is negative or NaN.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.entropy_bounded_information import exact
    >>> code = exact([0.7, 0.2, 0.1], 0.5)
    >>> round(code.rate_nats, 6), round(code.information_nats, 6)
    (0.5, 0.497814)

  Source: Ebrahimi et al. 2024, section 3 and figure 2.
  """
  p_x, rate = _checked(p_x, rate_nats)
  if len(p_x) > MAX_LETTERS:
    raise InputError(
      f"p_x has {len(p_x)} letters, expected at most {MAX_LETTERS} to try every map; use greedy."
    )
  joints = [_joint(p_x, labels) for labels in partitions(len(p_x))]
  candidates = [one for joint in joints for one in splits(joint)]
  feasible = [joint for joint in joints if entropy(joint.sum(0)) <= rate + TOLERANCE]
  feasible += list(_at_rate(candidates, rate))
  return max((_code(joint, rate_nats) for joint in feasible), key=lambda c: c.information_nats)


def partitions(n: int) -> Iterator[np.ndarray]:
  """Yields every partition of n letters, as the number of each letter's group.

  Args:
    n: how many letters, at least 1.

  Yields:
    [n] int, groups numbered by first appearance.

  Example:
    >>> from ibjax.exact.entropy_bounded_information import partitions
    >>> [labels.tolist() for labels in partitions(2)]
    [[0, 0], [0, 1]]
  """

  def grow(labels: list[int]) -> Iterator[list[int]]:
    if len(labels) == n:
      yield labels
      return
    for label in range(max(labels, default=-1) + 2):
      yield from grow([*labels, label])

  for labels in grow([]):
    yield np.array(labels)


def splits(joint: np.ndarray) -> Iterator[tuple[np.ndarray, int, int, int]]:
  """Yields every way to send a part of one letter elsewhere: to another column, or a new one.

  Along such a move H(T) is concave and I(X;T) convex in the mass moved, so within H(T) <= R the
  largest information is where H(T) = R, or at an end, which is a deterministic map.

  Args:
    joint: [n, k] of a deterministic map, k columns with mass.

  Yields:
    (joint [n, k + 1] with an empty last column, the letter, its column, the column it goes to).

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.entropy_bounded_information import splits
    >>> [move[1:] for move in splits(np.array([[0.5], [0.5]]))]
    [(0, 0, 1), (1, 0, 1)]
  """
  wide = np.pad(joint, ((0, 0), (0, 1)))
  for x, source in zip(*np.nonzero(joint)):
    for target in range(wide.shape[1]):
      if target != source:
        yield wide, int(x), int(source), target


def _near(joint: np.ndarray) -> Iterator[tuple[np.ndarray, int, int, int]]:
  """The two splits that are best next to a map: one that raises H(T), one that lowers it."""
  wide = np.pad(joint, ((0, 0), (0, 1)))
  columns = joint.sum(0)
  share = np.where(joint > 0, joint / columns, np.inf)
  x, source = np.unravel_index(np.argmin(share), share.shape)
  yield wide, int(x), int(source), joint.shape[1]
  least, largest = int(np.argmin(columns)), int(np.argmax(columns))
  if least != largest:
    inside = np.where(joint[:, least] > 0, joint[:, least], np.inf)
    yield wide, int(np.argmin(inside)), least, largest


def _at_rate(
  candidates: Iterator[tuple[np.ndarray, int, int, int]] | list, rate: float
) -> Iterator[np.ndarray]:
  """Moves mass along every candidate until H(T) is the rate, from either end where it can be."""
  for joint, x, source, target in candidates:
    columns, whole = joint.sum(0), joint[x, source]

    def excess(mass: float, columns=columns, source=source, target=target) -> float:
      moved = columns.copy()
      moved[source] = max(0.0, moved[source] - mass)
      moved[target] += mass
      return entropy(moved) - rate

    # H(T) is largest where the two columns are equal, and grows up to there.
    peak = float(np.clip((columns[source] - columns[target]) / 2, 0.0, whole))
    for start, end in ((0.0, peak), (whole, peak)):
      if excess(start) < 0 < excess(end):
        low, high = start, end  # H(T) <= rate at low
        for _ in range(60):
          middle = 0.5 * (low + high)
          low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
        moved = joint.copy()
        moved[x, source] -= low
        moved[x, target] += low
        yield moved


def _merge_extremes(p_x: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
  """Merges the two largest columns while H(T) stays above the rate, then the two smallest.

  Returns the maps before and after H(T) came down to the rate.
  """
  groups = [[int(x)] for x in np.argsort(-p_x, kind="stable")]
  masses = [float(p_x[x]) for (x,) in groups]
  now = entropy(p_x)
  first = 0  # everything before it was merged into it
  while first + 1 < len(masses):
    drop = _drop(masses[first], masses[first + 1])
    if now - drop < rate:
      break
    masses[first + 1] += masses[first]
    groups[first + 1] += groups[first]
    now -= drop
    first += 1
  heap = [(mass, number) for number, mass in enumerate(masses) if number >= first]
  heapq.heapify(heap)
  before = [groups[number] for _, number in heap]
  while now > rate + TOLERANCE and len(heap) > 1:
    before = [list(groups[number]) for _, number in heap]
    (a, i), (b, j) = heapq.heappop(heap), heapq.heappop(heap)
    groups[j] = groups[j] + groups[i]
    now -= _drop(a, b)
    heapq.heappush(heap, (a + b, j))
  return _labels(before, len(p_x)), _labels([groups[number] for _, number in heap], len(p_x))


def _merge_into_largest(p_x: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
  """Merges letters into one, from the largest; returns the maps before and after H(T) <= rate."""
  order = np.argsort(-p_x, kind="stable")
  now, mass, merged = entropy(p_x), float(p_x[order[0]]), 1
  while now > rate + TOLERANCE and merged < len(order):
    now -= _drop(mass, float(p_x[order[merged]]))
    mass += float(p_x[order[merged]])
    merged += 1

  def labels(count: int) -> np.ndarray:
    found = np.zeros(len(p_x), np.int64)
    found[order[count:]] = 1 + np.arange(len(p_x) - count)
    return found

  return labels(max(1, merged - 1)), labels(merged)


def _drop(a: float, b: float) -> float:
  """How much H(T) falls when masses a and b become one."""
  return entropy(np.array([a, b])) - entropy(np.array([a + b]))


def _labels(groups: list[list[int]], n: int) -> np.ndarray:
  labels = np.zeros(n, np.int64)
  for label, group in enumerate(groups):
    labels[group] = label
  return labels


def _joint(p_x: np.ndarray, labels: np.ndarray) -> np.ndarray:
  joint = np.zeros((len(p_x), int(labels.max()) + 1))
  joint[np.arange(len(p_x)), labels] = p_x
  return joint[:, joint.sum(0) > 0]


def _code(joint: np.ndarray, limit: float) -> Code:
  joint = joint[:, joint.sum(0) > 0]
  rate, kept = entropy(joint.sum(0)), information(joint)
  best = min(float(limit), entropy(joint.sum(1)))
  return Code(joint, rate, kept, float(limit), max(0.0, best - kept))


def _checked(p_x: np.ndarray, rate_nats: float) -> tuple[np.ndarray, float]:
  p_x, rate = check_distribution("p_x", p_x), float(rate_nats)
  if not rate >= 0:
    raise InputError(f"rate_nats is {rate:g}, expected a number of at least 0 nats.")
  return p_x, rate
