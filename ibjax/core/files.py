"""Files written whole or not at all."""

from __future__ import annotations

import io
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core.errors import WorkdirError


def write_bytes(path: pathlib.Path, content: bytes) -> None:
  """Writes a file whole or not at all: a killed process leaves the old one.

  Args:
    path: the file; its folder must exist.
    content: all of it.

  Raises:
    WorkdirError: it cannot be written (a full disk, say); the old file is left as it was.
  """
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with open(temporary, "wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    temporary.unlink(missing_ok=True)
    raise WorkdirError(f"cannot write {path}: {error.strerror or error}.") from error


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file whole or not at all.

  Args:
    path: the file; its folder must exist.
    text: all of it.
  """
  write_bytes(path, text.encode())


def write_npz(path: pathlib.Path, values: Mapping[str, Any]) -> None:
  """Writes named arrays whole or not at all.

  Args:
    path: the .npz file; its folder must exist.
    values: name -> array.
  """
  content = io.BytesIO()
  np.savez_compressed(content, **values)
  write_bytes(path, content.getvalue())


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes indented JSON whole or not at all.

  Args:
    path: the file.
    value: what JSON can hold; keys keep their order.

  Raises:
    WorkdirError: it cannot be written.
  """
  write_text(path, json.dumps(value, indent=2, sort_keys=False) + "\n")
