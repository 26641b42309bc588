"""Work on all pairs of rows in tiles: memory is bounded by the block size, rows by the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from ibjax.core import checks

Array = jax.Array
Tree = Any
AXIS = "rows"


def fold_pairs(
  tile: Callable[..., Tree],
  start: Callable[[int], Tree],
  rows: Tree,
  columns: Tree,
  *,
  block_size: int = 1024,
  devices: int | None = None,
) -> Tree:
  """Folds, for each row, over all columns, one tile of [block, block] pairs at a time.

  Each device takes a share of the rows and meets all columns; no array of n by n exists. A row's
  result does not depend on the number of devices.

  Args:
    tile: `tile(carry, rows, columns, row_index, column_index) -> carry`; rows and columns are
      blocks of `block_size` entries, carry has a leading axis of `block_size`, and the indices
      [block] say which entries these are. A column index of -1 marks padding that must not count.
    start: `start(block) -> carry` before the first tile.
    rows: tree of [n, ...].
    columns: tree of [m, ...].
    block_size: entries of a block; a block need not divide n or m.
    devices: over how many devices the rows are spread; None takes all, 1 stays on one.

  Returns:
    The carry after all columns, tree of [n, ...].

  Raises:
    InputError: a block size below 1.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.tiles import fold_pairs
    >>> x = jnp.arange(5.0)
    >>> def tile(total, a, b, i, j):  # the sum over all columns of the distance
    ...   return total + jnp.sum(jnp.where(j >= 0, jnp.abs(a[:, None] - b), 0.0), axis=1)
    >>> fold_pairs(tile, lambda b: jnp.zeros(b), x, x, block_size=2).tolist()
    [10.0, 7.0, 6.0, 7.0, 10.0]
  """
  checks.at_least("block_size", block_size, 1)
  n, m = (len(jax.tree.leaves(tree)[0]) for tree in (rows, columns))
  count = _devices(devices)
  row_block = min(block_size, -(-n // count))
  column_block = min(block_size, m)
  row_blocks = count * -(-n // (row_block * count))
  row_tiles, row_index = _blocks(rows, n, row_block, row_blocks)
  column_tiles, column_index = _blocks(columns, m, column_block, -(-m // column_block))
  column_index = jnp.where(column_index < m, column_index, -1)

  def block(carry_rows, _):
    own, index = carry_rows

    def step(carry, tiles):
      other, other_index = tiles
      return tile(carry, own, other, index, other_index), None

    return jax.lax.scan(step, start(row_block), (column_tiles, column_index))[0]

  return _over_blocks(block, row_tiles, row_index, count, n)


def map_rows(
  fn: Callable[..., Tree],
  rows: Tree,
  *,
  size: int,
  devices: int | None = None,
  shared: Tree = (),
) -> Tree:
  """Applies a function to blocks of rows that each meet all of `shared`.

  For work on all pairs that a compiler can fuse from end to end, so that the tile of
  [size, m] pairs need not be cut further; `fold_pairs` cuts the columns too.

  Args:
    fn: `fn(rows, shared) -> tree` of [size, ...]; rows are blocks of `size` entries.
    rows: tree of [n, ...].
    size: rows of a block; need not divide n.
    devices: over how many devices the rows are spread; None takes all, 1 stays on one.
    shared: what every block meets whole.

  Returns:
    Tree of [n, ...].

  Raises:
    InputError: a size below 1.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.tiles import map_rows
    >>> x = jnp.arange(5.0)
    >>> map_rows(lambda a, b: (a[:, None] > b).sum(1), x, size=2, shared=x).tolist()
    [0, 1, 2, 3, 4]
  """
  checks.at_least("size", size, 1)
  n = len(jax.tree.leaves(rows)[0])
  count = _devices(devices)
  size = min(size, -(-n // count))
  tiles, index = _blocks(rows, n, size, count * -(-n // (size * count)))
  return _over_blocks(
    lambda own, everything: fn(own[0], everything), tiles, index, count, n, shared
  )


def _devices(devices: int | None) -> int:
  there = len(jax.devices())
  return there if devices is None else min(devices, there)


def _over_blocks(
  block: Callable[..., Tree], tiles: Tree, index: Array, count: int, n: int, shared: Tree = ()
) -> Tree:
  """Runs `block((rows, index), shared)` over all blocks, those of a device one after another."""

  def run(own, everything):
    return jax.lax.map(lambda one: block(one, everything), own)

  if count > 1:
    mesh = jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,))
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    run = jax.shard_map(run, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)
  done = run((tiles, index), shared)
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], done)


def _blocks(tree: Tree, n: int, size: int, count: int) -> tuple[Tree, Array]:
  """Pads to whole blocks by repeating the first entries: [count, size, ...] and their indices."""
  take = jnp.asarray(np.arange(count * size) % n)
  index = jnp.arange(count * size, dtype=jnp.int32).reshape(count, size)
  return jax.tree.map(lambda a: a[take].reshape(count, size, *a.shape[1:]), tree), index
