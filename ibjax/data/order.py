"""The order of examples: batch(step) is a function of (seed, step) alone.

Never of the process count, the prefetch depth or a resume, because nothing but the seed and the
step enters. Each epoch is one permutation; the rest that fills no batch is dropped, other
examples each epoch.
"""

from __future__ import annotations

import functools

import numpy as np


# Enough for the seeds of a population; 4 bytes an example each.
@functools.lru_cache(maxsize=32)
def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
  """Returns the order of one epoch, [n] int32, read-only.

  Args:
    seed: `config.seed`.
    epoch: number of the epoch, from 0.
    n: examples in the split.

  Returns:
    [n] int32: every row once. Kept for the last few calls, so that it is shared.
  """
  generator = np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), epoch]))
  order = generator.permutation(n).astype(np.int32)
  order.flags.writeable = False
  return order


def batch_indices(seed: int, step: int, n: int, batch_size: int) -> np.ndarray:
  """Returns the rows of the training split that make up one batch.

  Args:
    seed: `config.seed`.
    step: number of the update, from 0.
    n: examples in the split.
    batch_size: examples per batch, at most n.

  Returns:
    [batch_size] int32.

  Example:
    >>> from ibjax.data.order import batch_indices
    >>> len(set(batch_indices(0, 0, 10, 5)) | set(batch_indices(0, 1, 10, 5)))
    10
  """
  epoch, offset = divmod(step, n // batch_size)
  return permutation(seed, epoch, n)[offset * batch_size : (offset + 1) * batch_size]


def held_out(n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Splits range(n) into (training rows, `count` validation rows), the same for every seed.

  Args:
    n: examples in the split.
    count: examples held out, 0 to n.

  Returns:
    (rows [n - count], rows [count]), integers, rising; every row is in one of them.
  """
  order = np.random.Generator(np.random.Philox(key=[n, 0])).permutation(n)
  return np.sort(order[count:]), np.sort(order[:count])


def eval_batches(n: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
  """Cuts a split into equal batches; the last is padded and masked.

  Args:
    n: examples in the split.
    batch_size: examples per batch; may exceed n.

  Returns:
    (rows [b, batch_size] int32, mask [b, batch_size] bool); every row is unmasked once.
  """
  batches = -(-n // batch_size)
  rows = np.arange(batches * batch_size)
  mask = rows < n
  rows = np.where(mask, rows, 0).astype(np.int32)
  return rows.reshape(batches, batch_size), mask.reshape(batches, batch_size)
