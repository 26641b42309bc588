"""Activation stores: rows of a layer's activations on disk, in shards, read at random access.

A store is a folder: `store.json` says what the rows are of, each shard is one array_record file
of one record per row and a last record of the shard's labels. A row's number is its example's
number times the positions of an example, plus its position: how the rows are cut into shards
changes neither the rows nor the fingerprint, so a batch stays a function of (seed, step).
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ibjax.core.errors import DataError
from ibjax.data import fingerprint
from ibjax.data.source import Arrays

INDEX = "store.json"
HASHES = "sha256.json"
FORMAT = 1
_READING = "readahead_buffer_size:0"
_SHAPE = ("width", "positions", "dtype", "num_classes", "class_names")
_KEYS = ("format", "complete", "origin", *_SHAPE, "shard_rows", "splits")
_SHARD_KEYS = ("file", "first", "rows", "bytes", "sha256", "digest")


class Part(NamedTuple):
  """One split of activations, computed when asked for.

  Attributes:
    examples: how many examples there are.
    read: `read(numbers [k] int64) -> {"x": [k, width] or [k, positions, width] floats, "y": [k]
      or [k, positions] integer labels}`; the labels may be left out. The same numbers always give
      the same arrays.
  """

  examples: int
  read: Callable[[np.ndarray], Mapping[str, np.ndarray]]


def read_index(folder: pathlib.Path) -> dict[str, Any]:
  """Reads what a store says of itself, and checks that its shards are there and whole.

  Args:
    folder: the store.

  Returns:
    What `store.json` holds.

  Raises:
    DataError: no store, an unfinished one, a shard that is missing, cut short or not the one
      that was written.
  """
  try:
    index = parse(folder)
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise DataError(
      f"{folder} is not an activation store: {INDEX} is missing or damaged ({error}). Write one "
      "with `ibjax data activations RUN --layer=LAYER --out=FOLDER`, or from Python with "
      "ibjax.data.store_write.write."
    ) from None
  if index["format"] != FORMAT:
    raise DataError(f"{folder} has format {index['format']}, and this version reads {FORMAT}.")
  shards = all_shards(index)
  if not index["complete"]:
    raise DataError(
      f"the activation store {folder} is not finished; it has {len(shards)} shards so far. Start "
      "the command that writes it again: it goes on from there."
    )
  for shard in shards:
    if not _fits(folder, shard):
      path = folder / shard["file"]
      found = f"has {path.stat().st_size:,} bytes" if path.exists() else "is missing"
      raise DataError(
        f"shard {path} {found}, and {shard['bytes']:,} bytes were written: it was cut short or "
        "replaced. Start the command that wrote the store again: it writes that shard anew."
      )
  sound = intact(folder, shards)
  for shard in shards:
    if shard["file"] not in sound:
      raise DataError(
        f"shard {folder / shard['file']} is not the file that was written (sha256 "
        f"{shard['sha256']}): it was damaged or replaced. Start the command that wrote the store "
        "again: it writes that shard anew."
      )
  return index


def parse(folder: pathlib.Path) -> dict[str, Any]:
  """Reads `store.json` as it is.

  Args:
    folder: the store, finished or not.

  Returns:
    What it holds, with every key that a store has.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no JSON.
    KeyError: a key is missing.
    TypeError: a part of it is of another type.
    AttributeError: as TypeError.
  """
  index = json.loads((folder / INDEX).read_text())
  needed = [(index, _KEYS + (("fingerprint",) if index["complete"] else ()))]
  needed += [(split, ("examples", "rows", "shards")) for split in index["splits"].values()]
  needed += [(shard, _SHARD_KEYS) for shard in all_shards(index)]
  for part, keys in needed:
    for key in keys:
      part[key]  # raises where it is missing
  return index


def all_shards(index: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The entries of the shards of all splits.

  Args:
    index: what `store.json` holds.

  Returns:
    A list, the splits one after another.
  """
  return [shard for split in index["splits"].values() for shard in split["shards"]]


def intact(folder: pathlib.Path, shards: Sequence[Mapping[str, Any]]) -> set[str]:
  """Tells which shards hold what was written; reads again only files that changed since.

  Args:
    folder: the store.
    shards: their entries in the index.

  Returns:
    The names of their files.
  """
  there = [folder / shard["file"] for shard in shards if _fits(folder, shard)]
  hashes = fingerprint.of_files(there, folder / HASHES)
  return {shard["file"] for shard in shards if hashes.get(shard["file"]) == shard["sha256"]}


def reader(folder: pathlib.Path, index: Mapping[str, Any], name: str) -> Callable[..., Arrays]:
  """Opens one split of a store.

  Args:
    folder: the store.
    index: what `read_index` returned.
    name: the split.

  Returns:
    `read(rows [k] int64) -> {"x": [k, width] float32, "y": [k] int32}`; thread-safe.

  Raises:
    DataError: at reading, when a record is damaged or holds NaN or infinite values.
  """
  shards = index["splits"][name]["shards"]
  starts = np.array([shard["first"] * index["positions"] for shard in shards])
  opened: dict[int, Any] = {}
  y = labels(folder, index, name)

  def read(rows: np.ndarray) -> Arrays:
    rows = np.asarray(rows, np.int64)
    x = np.empty((len(rows), index["width"]), np.float32)
    of = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(of):
      here = of == number
      if number not in opened:
        opened[number] = _open(folder / shards[number]["file"], shards[number])
      x[here] = _records(opened[number], rows[here] - starts[number], index, shards[number])
    return {"x": finite(x, f"{folder}/{name}", rows), "y": y[rows]}

  return read


def labels(folder: pathlib.Path, index: Mapping[str, Any], name: str) -> np.ndarray:
  """Reads all labels of a split.

  Args:
    folder: the store.
    index: what `read_index` returned.
    name: the split.

  Returns:
    [rows] int32; zeros where the store has no labels.

  Raises:
    DataError: a shard is damaged.
  """
  found = []
  for shard in index["splits"][name]["shards"]:
    record = _fetch(_open(folder / shard["file"], shard), [shard["rows"]], shard)[0]
    found.append(np.frombuffer(record, "<i4"))
    if len(found[-1]) != shard["rows"]:
      raise DataError(f"shard {folder / shard['file']}: its labels are damaged.")
  return np.concatenate(found).astype(np.int32)


def finite(x: np.ndarray, where: str, numbers: np.ndarray) -> np.ndarray:
  """Returns activations as they are if all of them are finite.

  Args:
    x: [k, ...] activations.
    where: the layer and split, for the message.
    numbers: [k] numbers of the rows.

  Returns:
    x.

  Raises:
    DataError: a value is NaN or infinite; says how many, and where the first is.
  """
  finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
  if not finite.all():
    raise DataError(
      f"{where}: {int((~finite).sum())} of {len(x)} activations looked at are NaN or infinite, the "
      f"first is number {int(numbers[np.argmin(finite)])}. Has the model diverged, or does it "
      "overflow in its compute type? Nothing can be learned from such values."
    )
  return x


def _fits(root: pathlib.Path, shard: Mapping[str, Any]) -> bool:
  """Whether a shard is there with as many bytes as were written."""
  path = root / shard["file"]
  return path.is_file() and path.stat().st_size == shard["bytes"]


def _open(path: pathlib.Path, shard: Mapping[str, Any]) -> Any:
  from array_record.python import array_record_module

  opened = array_record_module.ArrayRecordReader(str(path), _READING)
  if not opened.ok() or opened.num_records() != shard["rows"] + 1:
    raise DataError(
      f"shard {path} is damaged: it holds {opened.num_records() if opened.ok() else 'no readable'} "
      f"records, {shard['rows'] + 1} were written. Delete that file, and start the command that "
      "wrote the store again: it writes that shard anew."
    )
  return opened


def first_rows(
  folder: pathlib.Path, index: Mapping[str, Any], shard: Mapping[str, Any]
) -> np.ndarray:
  """Reads the rows of a shard's first example.

  Args:
    folder: the store.
    index: what `store.json` holds.
    shard: its entry there.

  Returns:
    [positions, width] float32.
  """
  opened = _open(folder / shard["file"], shard)
  return _records(opened, np.arange(index["positions"]), index, shard)


def _records(
  opened: Any, rows: np.ndarray, index: Mapping[str, Any], shard: Mapping[str, Any]
) -> np.ndarray:
  found = _fetch(opened, rows.tolist(), shard)
  values = np.frombuffer(b"".join(found), index["dtype"])
  if len(values) != len(rows) * index["width"]:
    raise DataError(f"shard {shard['file']}: a row is not {index['width']} values wide.")
  return values.reshape(len(rows), index["width"]).astype(np.float32)


def _fetch(opened: Any, rows: list[int], shard: Mapping[str, Any]) -> list[bytes]:
  try:
    return opened.read(rows)
  except (RuntimeError, IndexError, ValueError) as error:
    raise DataError(
      f"shard {shard['file']}: a record cannot be read ({error}). Delete that file, and start the "
      "command that wrote the store again: it writes that shard anew."
    ) from error
