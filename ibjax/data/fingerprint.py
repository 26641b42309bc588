"""Hashes that say which values a run was trained on: of arrays in memory and of files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from ibjax.core import files
from ibjax.core.errors import DataError, WorkdirError

_BLOCK = 1 << 22


def of_arrays(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
  """Hashes every value of every split, with its dtype and shape.

  Args:
    splits: split name -> (x [n, ...], y [n]); their order does not matter.

  Returns:
    64 hex digits (sha256).

  Example:
    >>> of_arrays({"train": (np.zeros((1, 2)), np.zeros(1, int))})[:8]
    '59cbc9ad'
  """
  digest = hashlib.sha256()
  for name in sorted(splits):
    for array in splits[name]:
      # The header keeps [2, 3] and [3, 2], or int32 and float32, of the same bytes apart.
      digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
      digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
  return digest.hexdigest()


def of_file(path: str | os.PathLike) -> str:
  """Hashes a file's bytes, a block at a time.

  Args:
    path: a file of any size.

  Returns:
    64 hex digits (sha256).
  """
  digest = hashlib.sha256()
  with open(path, "rb") as file:
    while block := file.read(_BLOCK):
      digest.update(block)
  return digest.hexdigest()


def combine(parts: Mapping[str, str]) -> str:
  """Makes one hash of named hashes or texts; their order does not matter.

  Args:
    parts: name -> hash or text.

  Returns:
    64 hex digits (sha256).
  """
  return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()


def of_recorded_files(paths: Iterable[pathlib.Path], record: pathlib.Path) -> dict[str, str]:
  """Hashes files once, and says when one is no longer what was hashed first.

  The hashes are kept in `record` beside the size and time of each file, so that a large set
  is read through once and not at every start. Where `record` cannot be written, the files
  are hashed each time.

  Args:
    paths: the files, all in one folder.
    record: a json file; made when missing.

  Returns:
    File name -> 64 hex digits (sha256).

  Raises:
    DataError: a file differs from the one recorded.
  """
  known, now = _hashed(paths, record)
  for path, (size, _, digest) in now.items():
    before, _, recorded = known.get(path.name, (size, 0, digest))
    if recorded != digest:
      raise DataError(
        f"{path} has {size} bytes with sha256 {digest}, but {record.name} beside it "
        f"recorded {before} bytes with sha256 {recorded}: the file was damaged or replaced. "
        f"Delete the folder {path.parent} and prepare the set again."
      )
  return _keep(known, now, record)


def of_files(paths: Iterable[pathlib.Path], record: pathlib.Path) -> dict[str, str]:
  """Hashes files, those that are of the recorded size and time not again.

  Unlike `of_recorded_files`, `record` only saves time: what the hashes must be is known elsewhere.

  Args:
    paths: the files, all in one folder.
    record: a json file; made when missing.

  Returns:
    File name -> 64 hex digits (sha256).
  """
  return _keep(*_hashed(paths, record), record)


_Entry = tuple[int, int, str]  # size, time, sha256


def _hashed(
  paths: Iterable[pathlib.Path], record: pathlib.Path
) -> tuple[dict[str, _Entry], dict[pathlib.Path, _Entry]]:
  """What is recorded of files, by name, and what they are now."""
  try:
    known = {name: tuple(entry) for name, entry in json.loads(record.read_text()).items()}
  except (OSError, ValueError):
    known = {}
  now = {}
  for path in sorted(paths):
    stat = path.stat()
    size, time, digest = known.get(path.name, (None, None, ""))
    if (size, time) != (stat.st_size, stat.st_mtime_ns):
      digest = of_file(path)
    now[path] = (stat.st_size, stat.st_mtime_ns, digest)
  return known, now


def _keep(
  known: Mapping[str, _Entry], now: Mapping[pathlib.Path, _Entry], record: pathlib.Path
) -> dict[str, str]:
  """Records what files are now, where it changed; returns their hashes."""
  named = {path.name: entry for path, entry in now.items()}
  if known != named:
    write_cache(record, json.dumps(named, indent=1).encode())
  return {name: digest for name, (_, _, digest) in named.items()}


def write_cache(path: pathlib.Path, content: bytes) -> None:
  """Writes a cache file whole or not at all; where the folder is read-only, not at all.

  Args:
    path: the file; its folder must exist.
    content: its new content.
  """
  with contextlib.suppress(WorkdirError):
    files.write_bytes(path, content)


def write_array_cache(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes a cached array as .npy, as `write_cache` does.

  Args:
    path: the file.
    array: any shape; no object arrays.
  """
  buffer = io.BytesIO()
  np.save(buffer, array, allow_pickle=False)
  write_cache(path, buffer.getvalue())
