"""Classes that come one group after another: which classes, in which order, which rows when.

Everything is a function of the labels, the seed and the sizes, so that a stream can be made again
from any point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ibjax.core.errors import ConfigError


def class_groups(
  num_classes: int, per_split: int, seed: int, shuffle: bool
) -> tuple[tuple[int, ...], ...]:
  """Divides the classes into groups, in the order in which they come.

  Args:
    num_classes: how many classes there are.
    per_split: classes of a group; it must divide their number.
    seed: of the order of the classes.
    shuffle: whether classes come in a random order, or by number.

  Returns:
    Groups of classes.

  Raises:
    ConfigError: a group size that does not divide.

  Example:
    >>> from ibjax.data.class_sequence import class_groups
    >>> class_groups(4, 2, 0, False)
    ((0, 1), (2, 3))
  """
  if not 1 <= per_split <= num_classes or num_classes % per_split:
    fits = [k for k in range(1, num_classes + 1) if num_classes % k == 0]
    raise ConfigError(
      f"{num_classes} classes cannot come {per_split} at a time; config.data.split_classes must be "
      f"one of {', '.join(map(str, fits))} ({num_classes} is training on all at once)."
    )
  order = np.arange(num_classes)
  if shuffle:
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(num_classes)
  return tuple(tuple(int(c) for c in group) for group in order.reshape(-1, per_split))


def stream(
  labels: np.ndarray,
  groups: Sequence[Sequence[int]],
  epochs: int,
  batch_size: int,
  seed: int,
) -> list[np.ndarray]:
  """The rows of every batch, group after group.

  Args:
    labels: [n] integers.
    groups: classes in the order in which they come.
    epochs: passes over a group before the next one comes; the rest that fills no batch is dropped,
      other rows in each pass.
    batch_size: rows of a batch.
    seed: of the order within a pass.

  Returns:
    For every group [steps, batch_size] int32.

  Raises:
    ConfigError: a group with fewer rows than a batch.
  """
  tables = []
  for number, group in enumerate(groups):
    rows = np.flatnonzero(np.isin(labels, group)).astype(np.int32)
    if len(rows) < batch_size:
      raise ConfigError(
        f"classes {list(group)} have {len(rows)} training examples, fewer than "
        f"config.training.batch_size={batch_size}. Use a batch of at most {len(rows)}."
      )
    whole = len(rows) // batch_size * batch_size
    passes = []
    for epoch in range(epochs):
      generator = np.random.Generator(np.random.Philox(key=[seed, 1 + number * epochs + epoch]))
      passes.append(generator.permutation(rows)[:whole].reshape(-1, batch_size))
    tables.append(np.concatenate(passes))
  return tables


def with_rehearsal(tables: Sequence[np.ndarray], size: int, seed: int) -> list[np.ndarray]:
  """Adds to every batch as many rows again, drawn from a memory of rows that came before.

  Formula: reservoir sampling. The i-th distinct row of the stream enters a memory that is full with
  probability size / i, in the place of a random one; so at any time the memory is an even sample of
  all rows that came, and nobody has to say where one group ends. Draws are even, without repetition
  where the memory has enough; the first batch is repeated, as nothing came before it.

  Args:
    tables: for every group [steps, batch] rows of the stream.
    size: rows that the memory holds.
    seed: of what enters and what is drawn.

  Returns:
    For every group [steps, 2 batch]: the stream's rows, then the memory's.

  Example:
    >>> import numpy as np
    >>> from ibjax.data.class_sequence import with_rehearsal
    >>> first, second = with_rehearsal([np.array([[0, 1]]), np.array([[2, 3]])], 2, 0)
    >>> first.tolist(), second[0, :2].tolist(), sorted(second[0, 2:].tolist())
    ([[0, 1, 0, 1]], [2, 3], [0, 1])

  Source: Vitter 1985, "Random sampling with a reservoir", algorithm R; as the memory of experience
  replay in Chaudhry et al. 2019 (arXiv:1902.10486), algorithms 1 and 2.
  """
  generator = np.random.Generator(np.random.Philox(key=[seed, 2**32]))
  memory: list[int] = []
  seen: set[int] = set()
  joined = []
  for table in tables:
    both = np.concatenate([table, np.zeros_like(table)], axis=1)
    for step, rows in enumerate(table):
      # From what came before this batch: of the batch itself nothing is new.
      pool = np.asarray(memory or rows)
      drawn = generator.choice(pool, len(rows), replace=len(pool) < len(rows))
      both[step, len(rows) :] = drawn if memory else rows
      for row in rows.tolist():
        if row in seen:
          continue
        seen.add(row)
        if len(memory) < size:
          memory.append(row)
        elif (place := int(generator.integers(len(seen)))) < size:
          memory[place] = row
    joined.append(both)
  return joined
