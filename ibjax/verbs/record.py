"""Adding to `results.jsonl`, which several processes on several machines may do at once.

One writes at a time (a claim beside the file, see `ibjax/cluster/claims.py`); it reads the file
again first, so that no run gets two lines. Lines are added at the end and put on disk: a process
that was suspended while it wrote, and wakes when others have written, takes nothing away.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ibjax.cluster import claims
from ibjax.core.errors import WorkdirError
from ibjax.core.files import write_bytes
from ibjax.report import results as results_lib


def append(path: pathlib.Path, lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """Adds the lines of runs that have none yet, all of them or none of them.

  Args:
    path: results.jsonl; made when absent.
    lines: what to add.

  Returns:
    The lines added: without those whose run (cell, budget, seed) has a line of the same config,
    code and data.

  Raises:
    ConfigError: a line lacks a key, or the file is damaged; nothing is written.
    WorkdirError: the file cannot be written (a full disk, say), and is as it was.
  """
  for number, line in enumerate(lines):
    results_lib.check_line(f"a new line ({number})", line)
  with _alone(path):
    found = results_lib.read(path)
    _move_torn(found)
    there = {_identity(line) for line in found.lines}
    new = [line for line in lines if _identity(line) not in there]
    if new:
      _add(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in new).encode())
  return new


def set_aside(path: pathlib.Path) -> pathlib.Path | None:
  """Moves half a line at the end of the file to `results.jsonl.damaged` beside it.

  Args:
    path: results.jsonl; it need not exist.

  Returns:
    Where it was put; None when nothing is torn.

  Raises:
    ConfigError: the file is damaged before its end.
    WorkdirError: it cannot be written; the half line is where it was.
  """
  if not results_lib.read(path).torn:
    return None
  with _alone(path):  # what another process is writing is whole by now
    return _move_torn(results_lib.read(path))


@contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
  if not path.parent.is_dir():
    raise WorkdirError(f"cannot write {path}: there is no folder {path.parent}.")
  with claims.lock(path.parent / claims.FOLDER, path.name):
    yield


def _identity(line: Mapping[str, Any]) -> tuple[Any, ...]:
  fingerprint = line["data"]["fingerprint"]
  keys = ("cell", "budget", "seed", "config_hash", "code")
  return (*(line[key] for key in keys), fingerprint)


def _move_torn(results: results_lib.Results) -> pathlib.Path | None:
  if not results.torn:
    return None
  damaged = results.path.with_name(f"{results.path.name}.damaged")
  old = damaged.read_bytes() if damaged.is_file() else b""
  write_bytes(damaged, old + results.torn + b"\n")  # kept before it is taken away
  write_bytes(results.path, results.path.read_bytes()[: -len(results.torn)])
  return damaged


def _add(path: pathlib.Path, text: bytes) -> None:
  try:
    with open(path, "a+b", buffering=0) as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(0, size - 1))
      if size and file.read(1) != b"\n":  # a whole last line that only lacks its end
        text = b"\n" + text
      try:
        while text:
          text = text[file.write(text) :]
        os.fsync(file.fileno())
      except BaseException:
        file.truncate(size)
        raise
  except OSError as error:
    raise WorkdirError(
      f"cannot write {path}: {error.strerror or error}. It is as it was. Free some space (or fix "
      "the folder) and run the same command again; finished runs are kept in their folders."
    ) from error
