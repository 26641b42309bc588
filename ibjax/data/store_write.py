"""Writing an activation store, shard by shard, so that a stopped writer goes on."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ibjax.core import checks, files
from ibjax.core.errors import DataError, InputError
from ibjax.data import fingerprint
from ibjax.data.store import (
  FORMAT,
  HASHES,
  INDEX,
  Part,
  all_shards,
  finite,
  first_rows,
  intact,
  parse,
)

# Rows of their own, uncompressed: floats hardly compress, and random rows of 512 floats are read
# 1.7 times as fast as from groups of 64.
_WRITING = "group_size:1,uncompressed"
_DTYPES = ("float32", "float16")
_ORIGIN = ("model", "layer", "data")


class Shape(NamedTuple):
  """What all rows of a store share.

  Attributes:
    width: values in a row.
    positions: rows of an example.
  """

  width: int
  positions: int


def write(
  folder: str | os.PathLike,
  parts: Mapping[str, Part],
  *,
  origin: Mapping[str, str],
  num_classes: int = 0,
  class_names: tuple[str, ...] = (),
  dtype: str = "float32",
  shard_rows: int = 65536,
  notes: Mapping[str, str] | None = None,
  report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
  """Writes an activation store, or goes on where a stopped writer left off.

  A shard appears whole or not at all and is entered into `store.json` after that, so a writer
  killed at any moment loses one shard at most, and the finished store is that of a writer that
  was never stopped. One writer at a time.

  Args:
    folder: where the store is, or shall be.
    parts: split -> `Part`; a source to train on needs "train" and "test".
    origin: "model", "layer" and "data": texts that tell what the activations are of. With the
      width they make the store's identity: a store of another origin is refused.
    num_classes: labels are 0..num_classes-1; 0 when there are none.
    class_names: names of the classes.
    dtype: how values are stored, "float32" or "float16" (half the size, 3 decimal digits).
    shard_rows: rows in a shard, about; a whole number of examples.
    notes: texts kept beside the origin that are no part of the identity, such as the run's folder.
    report: told of each shard that was written.

  Returns:
    What `store.json` holds: {"fingerprint", "width", "positions", "dtype", "splits", ...}.

  Raises:
    InputError: an origin without one of its texts, no split, another dtype.
    DataError: the folder holds a store of another model, layer, data or width; an activation is
      NaN, infinite or too large for the dtype; examples differ in shape.

  Example:
    >>> import tempfile
    >>> import numpy as np
    >>> from ibjax.data.store import Part
    >>> from ibjax.data.store_write import write
    >>> table = np.eye(6, dtype=np.float32)
    >>> part = Part(6, lambda rows: {"x": table[rows]})
    >>> origin = {"model": "the unit vectors", "layer": "all", "data": "0..5"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   made = write(folder, {"train": part, "test": part}, origin=origin)
    >>> made["width"], made["splits"]["train"]["rows"]
    (6, 6)
  """
  checks.one_of("dtype", dtype, _DTYPES)
  checks.at_least("shard_rows", shard_rows, 1)
  checks.at_least("num_classes", num_classes, 0)
  if missing := [name for name in _ORIGIN if not origin.get(name)]:
    raise InputError(f"origin has no {', '.join(missing)}; it needs a text for each of {_ORIGIN}.")
  if not parts or any(part.examples < 1 for part in parts.values()):
    raise InputError("an activation store needs splits of at least one example each.")
  root = pathlib.Path(folder)
  firsts = {name: _rows(part, np.arange(1), name, origin, dtype) for name, part in parts.items()}
  shapes = {name: Shape(x.shape[2], x.shape[1]) for name, (x, _) in firsts.items()}
  shape = next(iter(shapes.values()))
  if len(set(shapes.values())) > 1:
    raise DataError(f"the splits differ in width or positions: {shapes}.")
  wanted = _index(origin, shape, dtype, num_classes, class_names, parts, shard_rows)
  index = {**_resume(root, wanted), "notes": dict(notes or {})}
  sound = intact(root, all_shards(index))
  for name, (x, _) in firsts.items():
    _check_same_model(root, index, name, x[0], sound)
  root.mkdir(parents=True, exist_ok=True)
  for name, part in parts.items():
    kept = {shard["first"]: shard for shard in index["splits"][name]["shards"]}
    step = max(1, index["shard_rows"] // shape.positions)
    for first in range(0, part.examples, step):
      numbers = np.arange(first, min(first + step, part.examples))
      if first in kept and kept[first]["file"] in sound:
        continue
      x, y = _rows(part, numbers, name, origin, dtype)
      kept[first] = _write_shard(root, f"{name}-{first:09d}.array_record", first, x, y, index)
      index["splits"][name]["shards"] = [kept[start] for start in sorted(kept)]
      files.write_json(root / INDEX, index)
      report(f"{name}: {numbers[-1] + 1:,} of {part.examples:,} examples")
  fingerprint.of_files([root / shard["file"] for shard in all_shards(index)], root / HASHES)
  index["complete"] = True
  index["fingerprint"] = _fingerprint(index)
  files.write_json(root / INDEX, index)
  return index


def _index(origin, shape, dtype, num_classes, class_names, parts, shard_rows) -> dict[str, Any]:
  return {
    "format": FORMAT,
    "complete": False,
    "origin": {name: str(origin[name]) for name in sorted(origin)},
    "width": shape.width,
    "positions": shape.positions,
    "dtype": dtype,
    "num_classes": num_classes,
    "class_names": list(class_names),
    "shard_rows": shard_rows,
    "splits": {
      name: {"examples": part.examples, "rows": part.examples * shape.positions, "shards": []}
      for name, part in parts.items()
    },
  }


def _resume(root: pathlib.Path, wanted: dict[str, Any]) -> dict[str, Any]:
  """The index of the store that is there, if it is of the same origin; else the wanted one."""
  try:
    there = parse(root)
    splits = there["splits"]
  except FileNotFoundError:
    return wanted
  except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
    raise DataError(f"{root / INDEX} is damaged ({error}). Delete the folder {root}.") from None
  bare = {name: {k: s[k] for k in ("examples", "rows")} for name, s in splits.items()}
  new = {name: {k: s[k] for k in ("examples", "rows")} for name, s in wanted["splits"].items()}
  free = ("complete", "fingerprint", "shard_rows", "splits")
  pairs = [(f"origin.{k}", there.get("origin", {}).get(k), v) for k, v in wanted["origin"].items()]
  pairs += [(k, there.get(k), v) for k, v in wanted.items() if k not in (*free, "origin")]
  pairs += [("splits", bare, new)]
  differ = [
    f"{key} is {old!r}, asked for is {value!r}" for key, old, value in pairs if old != value
  ]
  if differ:
    raise DataError(
      f"{root} is the activation store of something else: {'; '.join(differ)}. Choose another "
      "folder, or delete this one."
    )
  return {**there, "complete": False}


def _check_same_model(
  root: pathlib.Path, index: Mapping[str, Any], name: str, x: np.ndarray, sound: Collection[str]
) -> None:
  """Raises DataError unless example 0 of a store that is gone on with is what it is now."""
  shards = index["splits"][name]["shards"]
  first = next((s for s in shards if s["first"] == 0 and s["file"] in sound), None)
  if first is None:
    return
  stored = first_rows(root, index, first)
  # Not bit for bit: another machine, or another size of batch, rounds otherwise.
  far = np.abs(stored - x.astype(np.float32)).max()
  if far > 1e-2 * max(np.abs(stored).max(), 1e-6):
    raise DataError(
      f"{root}: the first example of '{name}' was stored with other activations (they differ by "
      f"{far:.3g}): its origin is named alike, but the model, layer or data changed. Choose "
      "another folder, or delete this one."
    )


def _rows(
  part: Part, numbers: np.ndarray, name: str, origin: Mapping[str, str], dtype: str
) -> tuple[np.ndarray, np.ndarray]:
  """Computes examples: x [k, positions, width] in the stored type, y [k, positions] int32."""
  found = part.read(numbers)
  x = np.asarray(found["x"])
  where = f"layer '{origin['layer']}', split '{name}'"
  if x.ndim not in (2, 3) or len(x) != len(numbers) or x.size == 0:
    raise DataError(
      f"{where}: activations of {len(numbers)} examples have shape {list(x.shape)}, expected "
      "[examples, width] or [examples, positions, width]."
    )
  x = x if x.ndim == 3 else x[:, None]
  with np.errstate(over="ignore"):
    stored = x.astype(dtype)
  if dtype == "float16" and np.isfinite(x).all() and not np.isfinite(stored).all():
    raise DataError(
      f"{where}: |value| {np.abs(x).max():.3g} is too large for float16; use float32."
    )
  finite(stored, where, numbers)
  y = np.asarray(found.get("y", np.zeros(len(x), np.int32)), np.int32)
  y = np.broadcast_to(y.reshape(len(x), -1), x.shape[:2])
  return stored, y


def _write_shard(
  root: pathlib.Path, file: str, first: int, x: np.ndarray, y: np.ndarray, index: Mapping[str, Any]
) -> dict[str, Any]:
  from array_record.python import array_record_module

  rows = x.reshape(-1, x.shape[-1])
  start, total = first * x.shape[1], 0
  temporary = root / f".{file}.{os.getpid()}.tmp"
  try:
    writer = array_record_module.ArrayRecordWriter(str(temporary), _WRITING)
    for number, (row, label) in enumerate(zip(rows, y.reshape(-1)), start):
      record = row.tobytes()
      writer.write(record)
      digest = hashlib.sha256(b"%d %d " % (number, label) + record).digest()
      total += int.from_bytes(digest, "big")
    writer.write(np.ascontiguousarray(y.reshape(-1), "<i4").tobytes())
    writer.close()
    with open(temporary, "rb") as written:
      os.fsync(written.fileno())
    content = fingerprint.of_file(temporary)
    os.replace(temporary, root / file)
  except (OSError, RuntimeError) as error:
    raise DataError(f"cannot write the shard {root / file}: {error}.") from error
  finally:
    temporary.unlink(missing_ok=True)
  return {
    "file": file,
    "first": first,
    "rows": len(rows),
    "bytes": (root / file).stat().st_size,
    "sha256": content,
    "digest": f"{total % 2**256:064x}",
  }


def _fingerprint(index: Mapping[str, Any]) -> str:
  """A hash of every row at its place, whatever shard it is in: sums do not know the cuts."""
  parts = {f"origin.{key}": value for key, value in index["origin"].items()}
  parts |= {key: str(index[key]) for key in ("width", "positions", "dtype", "num_classes")}
  for name, split in index["splits"].items():
    total = sum(int(shard["digest"], 16) for shard in split["shards"]) % 2**256
    parts[f"split.{name}"] = f"{split['rows']} {total:064x}"
  return fingerprint.combine(parts)
