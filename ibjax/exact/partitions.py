"""All partitions of a small alphabet, and the best of them: the proof for hard clusterings."""

from __future__ import annotations

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.exact.joint import checked_joint, one_hot, place

_MOST = 11  # 678,570 partitions; of 12 letters there are 4.2 million
_ROWS = 1 << 13  # partitions looked at together


def partitions(letters: int) -> np.ndarray:
  """Lists all partitions of an alphabet.

  Formula: restricted growth strings, l_0 = 0 and l_(i+1) <= 1 + max l_0..l_i; there are Bell(n).

  Args:
    letters: size of the alphabet, 1 to 11.

  Returns:
    [Bell(letters), letters] labels; clusters are numbered in the order of their first letter.

  Raises:
    InputError: another number of letters.

  Example:
    >>> from ibjax.exact.partitions import partitions
    >>> partitions(3).tolist()
    [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 2]]
    >>> len(partitions(8))
    4140
  """
  checks.at_least("letters", letters, 1)
  if letters > _MOST:
    raise InputError(
      f"letters is {letters}, expected at most {_MOST}: the number of partitions grows faster than "
      "exponentially. Use ibjax.exact.deterministic_ib."
    )
  found = np.zeros((1, 1), np.int64)
  for _ in range(letters - 1):
    choices = found.max(axis=1) + 2
    last = np.concatenate([np.arange(count) for count in choices])
    found = np.column_stack([np.repeat(found, choices, axis=0), last])
  return found


def best_partition(joint: np.ndarray, beta: float, clusters: int | None = None) -> np.ndarray:
  """The hard clustering of least H(T) - beta I(T;Y), by trying all of them.

  Args:
    joint: [kx, ky] p(x, y), at most 11 rows.
    beta: Tishby's beta, at least 0; infinite for the most I(T;Y).
    clusters: the most clusters there may be; kx when None.

  Returns:
    [kx] labels.

  Raises:
    InputError: a table that is no joint distribution or too large, or a beta out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.partitions import best_partition
    >>> best_partition(np.array([[0.3, 0.0], [0.2, 0.0], [0.0, 0.5]]), 2.0).tolist()
    [0, 0, 1]
  """
  joint = checked_joint(joint)
  checks.at_least("beta", beta, 0.0)
  labels = partitions(len(joint))
  labels = labels[labels.max(axis=1) < (clusters or len(joint))]
  costs = []
  for begin in range(0, len(labels), _ROWS):
    plane = place(joint, one_hot(labels[begin : begin + _ROWS], len(joint)))
    entropy = plane.entropy_nats
    costs.append(-plane.relevance_nats + (0.0 if np.isinf(beta) else entropy / max(beta, 1e-300)))
  return labels[np.argmin(np.concatenate(costs))]
