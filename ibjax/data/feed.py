"""From sources to devices: resident arrays with tables of rows, or streamed batches."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core.errors import DataError
from ibjax.data.order import batch_indices, eval_batches
from ibjax.data.source import Arrays, Split

Array = jax.Array

RESIDENT_BYTES = 2**30  # "auto" keeps splits up to this size on the devices


def to_float(x: Array, value_range: tuple[float, float]) -> Array:
  """Scales integer inputs from 0..255 to `value_range`; floats pass as float32.

  Args:
    x: any shape.
    value_range: what 0 and 255 become.

  Returns:
    Same shape, float32.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.data.feed import to_float
    >>> to_float(jnp.array([0, 255], jnp.uint8), (-1.0, 1.0)).tolist()
    [-1.0, 1.0]
  """
  if not jnp.issubdtype(x.dtype, jnp.integer):
    return x.astype(jnp.float32)
  low, high = value_range
  return x.astype(jnp.float32) * ((high - low) / 255.0) + low


def place(value: np.ndarray, sharding: NamedSharding) -> Array:
  """Puts a host array on the mesh; each process hands over only the rows of its own devices.

  Args:
    value: the whole array, the same in every process.
    sharding: where its parts go.

  Returns:
    A global array of the same shape and values.
  """
  return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def read_all(split: Split) -> Arrays:
  """Reads a whole split into host memory, in blocks, on two threads.

  Args:
    split: the split.

  Returns:
    Arrays by name, [n, ...] each, in the order of the rows.
  """
  return _read_rows(split, np.arange(split.n))


def _read_rows(split: Split, rows: np.ndarray) -> Arrays:
  if len(rows) <= 4096:
    return split.read(rows)
  blocks = np.array_split(rows, max(1, len(rows) // 4096))
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    parts = list(pool.map(split.read, blocks))
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def read_everywhere(split: Split, mesh: Any) -> dict[str, Array]:
  """Reads a whole split, and puts it on every device of the mesh.

  Of several processes each reads a share, the rows of its devices when all devices share them;
  the devices then hand theirs round.

  Args:
    split: the split.
    mesh: the device mesh.

  Returns:
    Arrays by name, [n, ...] each, with a copy on every device.
  """
  everywhere = NamedSharding(mesh, PartitionSpec())
  if everywhere.is_fully_addressable:
    return {name: place(value, everywhere) for name, value in read_all(split).items()}
  shared = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
  # The last rows are there twice where the devices do not divide them.
  rows = np.minimum(np.arange(-(-split.n // mesh.size) * mesh.size), split.n - 1)
  parts = place_rows(split, rows, shared)
  whole = jax.jit(lambda tree: {k: v[: split.n] for k, v in tree.items()}, out_shardings=everywhere)
  return whole(parts)


def place_rows(split: Split, rows: np.ndarray, sharding: NamedSharding) -> dict[str, Array]:
  """Reads rows of a split onto the mesh; each process reads only those of its own devices, once.

  Args:
    split: the split.
    rows: [k] integers, the same in every process.
    sharding: where the parts of [k, ...] go; it cuts the first dimension alone.

  Returns:
    Global arrays by name, [k, ...] each.
  """
  if sharding.is_fully_addressable:
    return {name: place(value, sharding) for name, value in _read_rows(split, rows).items()}
  return local_parts(sharding, rows.shape, 0, lambda part: _read_rows(split, rows[part]))


def local_parts(
  sharding: NamedSharding, shape: tuple[int, ...], axis: int, read: Callable[[slice], Arrays]
) -> dict[str, Array]:
  """Makes global arrays of which each process reads only what lies on its own devices, once.

  Args:
    sharding: where the parts go; it cuts the dimension `axis` alone.
    shape: the leading dimensions of the global arrays, up to `axis` at least.
    axis: the dimension that is cut.
    read: gives the arrays by name of a slice of that dimension.

  Returns:
    Arrays by name, with `shape` in front.
  """
  indices = sharding.addressable_devices_indices_map(shape)
  parts: dict[tuple[int, int, int], Arrays] = {}
  for index in indices.values():
    assert index is not None  # these devices are of this process
    bounds = index[axis].indices(shape[axis])
    if bounds not in parts:
      parts[bounds] = read(slice(*bounds))

  def local(name: str, index: tuple[slice, ...]) -> np.ndarray:
    return parts[index[axis].indices(shape[axis])][name]

  return {
    name: jax.make_array_from_callback(
      (*shape, *like.shape[len(shape) :]), sharding, functools.partial(local, name)
    )
    for name, like in next(iter(parts.values())).items()
  }


def subset(split: Split, rows: np.ndarray) -> Split:
  """The split restricted to some of its rows.

  Args:
    split: the split.
    rows: [k] integers, the rows kept; row i of the result is rows[i] of the split.

  Returns:
    A `Split` of k examples that reads from the first when asked.
  """
  nbytes = split.nbytes * len(rows) // max(1, split.n)
  return Split(n=len(rows), read=lambda indices: split.read(rows[indices]), nbytes=nbytes)


def is_resident(placement: str, nbytes: int) -> bool:
  """Whether a split lives on the devices: as asked, or by its size.

  Args:
    placement: "resident", "streamed" or "auto".
    nbytes: size of the split in bytes, decoded.

  Returns:
    True for "resident", and for "auto" up to `RESIDENT_BYTES`.
  """
  return placement == "resident" or (placement == "auto" and nbytes <= RESIDENT_BYTES)


class ResidentFeed:
  """Data on the devices; a dispatch gets a table of rows.

  Attributes:
    data: {"x": [n, ...], "y": [n, ...]}, on every device of the mesh.
  """

  def __init__(
    self, split: Split, mesh: Any, *, seed: int | Sequence[int], batch_size: int, depth: int
  ):
    self.data = read_everywhere(split, mesh)
    self._n, self._seed, self._batch, self._depth = split.n, seed, batch_size, depth
    axes = (None, "data") if isinstance(seed, int) else ("population", None, "data")
    self._sharding = NamedSharding(mesh, PartitionSpec(*axes))

  def tables(self, chunks: Iterator[tuple[int, int]]) -> Iterator[dict[str, Array]]:
    """Yields, for each (first step, steps), the table {"rows": [depth, batch]}, zero-padded.

    Of a population, whose seeds are a sequence, {"rows": [members, depth, batch]}.
    """
    for chunk in chunks:
      if isinstance(self._seed, int):
        rows = self._rows(self._seed, chunk)
      else:
        distinct = {seed: self._rows(seed, chunk) for seed in dict.fromkeys(self._seed)}
        rows = np.stack([distinct[seed] for seed in self._seed])
      yield {"rows": place(rows, self._sharding)}

  def _rows(self, seed: int, chunk: tuple[int, int]) -> np.ndarray:
    start, count = chunk
    rows = np.zeros((self._depth, self._batch), np.int32)
    for i in range(count):
      rows[i] = batch_indices(seed, start + i, self._n, self._batch)
    return rows


class StreamedFeed:
  """Data on the host or on disk; a dispatch gets its batches, read ahead by grain's threads."""

  def __init__(self, split: Split, mesh: Any, *, seed: int, batch_size: int, depth: int):
    self.data: dict[str, Array] = {}
    self._split, self._seed, self._batch, self._depth = split, seed, batch_size, depth
    self._mesh = mesh

  def tables(self, chunks: Iterator[tuple[int, int]]) -> Iterator[dict[str, Array]]:
    """Yields, for each (first step, steps), {"x": [depth, batch, ...], "y": [depth, batch]}."""
    dataset = grain.MapDataset.source(list(chunks)).map(self._table)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    yield from dataset.to_iter_dataset(options)

  def _table(self, chunk: tuple[int, int]) -> dict[str, Array]:
    start, count = chunk
    rows = np.zeros((self._depth, self._batch), np.int64)
    for i in range(count):
      rows[i] = batch_indices(self._seed, start + i, self._split.n, self._batch)
    sharding = NamedSharding(self._mesh, PartitionSpec(None, "data"))
    return local_parts(sharding, rows.shape, 1, lambda part: self._read(rows[:count, part]))

  def _read(self, rows: np.ndarray) -> Arrays:
    arrays = {}
    for name, value in self._split.read(rows.ravel()).items():
      if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        raise DataError(f"a batch read while training holds NaN or infinite values in '{name}'.")
      padded = np.zeros((self._depth, rows.shape[1], *value.shape[1:]), value.dtype)
      padded[: len(rows)] = value.reshape(*rows.shape, *value.shape[1:])
      arrays[name] = padded
    return arrays


class EvalFeed:
  """A split cut into equal batches, the last one padded and masked; kept on devices if small."""

  def __init__(self, split: Split, mesh: Any, *, batch_size: int, resident: bool):
    self._split, self._resident = split, resident
    self._rows, self._mask = eval_batches(split.n, batch_size)
    self._sharding = NamedSharding(mesh, PartitionSpec("data"))
    self._kept: list[dict[str, Array]] = []

  def __iter__(self) -> Iterator[dict[str, Array]]:
    """Yields {"x": [b, ...], "y": [b], "mask": [b]}."""
    if self._kept:
      yield from self._kept
      return
    kept = []
    for rows, mask in zip(self._rows, self._mask):
      batch = place_rows(self._split, rows, self._sharding)
      batch["mask"] = place(mask, self._sharding)
      if self._resident:
        kept.append(batch)
      yield batch
    self._kept = kept

  def trim(self, number: int, values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Drops the padding of the values of one batch, whose examples lie along `axis`."""
    return np.compress(self._mask[number], values, axis)


def batch_at(data: dict[str, Array], table: dict[str, Array], i: Array) -> dict[str, Array]:
  """Returns batch i of a dispatch, inside the compiled program.

  Args:
    data: the feed's `data`: {"x": [n, ...], "y": [n]} when resident, else empty.
    table: one of the feed's `tables`: {"rows": [depth, batch]}, or the batches themselves, [depth,
      batch, ...] each.
    i: number of the batch in the dispatch, from 0; an integer scalar, may be traced.

  Returns:
    {"x": [batch, ...], "y": [batch], "mask": [batch] bool, all True}.
  """
  if "rows" in table:
    rows = table["rows"][i]
    batch = {name: value[rows] for name, value in data.items()}
  else:
    batch = {name: value[i] for name, value in table.items()}
  return {**batch, "mask": jnp.ones(batch["y"].shape[:1], bool)}
