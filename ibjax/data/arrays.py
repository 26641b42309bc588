"""One array from a file: `.npy`, `.npz`, or columns of a `.csv`."""

from __future__ import annotations

import csv
import pathlib
import re
import zipfile

import numpy as np

from ibjax.core.errors import DataError, nearest, unknown

_KINDS = (".npy", ".npz", ".csv", ".tsv")
_NAME = re.compile(r"(?P<path>.+?\.(?:npy|npz|csv|tsv))(?::(?P<part>.+))?$", re.IGNORECASE)


def read(name: str) -> np.ndarray:
  """Reads the array that a name on a command line means.

  Args:
    name: "a.npy"; "a.npz" or "a.npz:array"; "a.csv" or "a.csv:COLUMNS", where COLUMNS are names
      of the header or numbers from 0, joined by commas, and ranges of numbers as 0-3. A `.tsv`
      is a `.csv` with tabs.

  Returns:
    The array. Columns are [n, d] floats; a single column is [n]: integers where all its cells
    are, numbers of classes (in the order of their names) where cells are words.

  Raises:
    DataError: no such file, array or column (names the nearest), a file that is damaged or of
      another kind, a cell that is empty or no number.
  """
  match = _NAME.match(name)
  if not match:
    raise DataError(f"'{name}' is no array file; expected a name ending in {', '.join(_KINDS)}.")
  path, part = pathlib.Path(match["path"]), match["part"]
  if not path.is_file():
    there = [str(p) for p in path.parent.glob("*") if p.suffix.lower() in _KINDS]
    guess = nearest(str(path), there)
    raise DataError(f"there is no file {path}." + (f" Did you mean '{guess}'?" if guess else ""))
  suffix = path.suffix.lower()
  if suffix in (".csv", ".tsv"):
    return _columns(path, part, "\t" if suffix == ".tsv" else ",")
  try:
    with path.open("rb") as file:
      found = np.load(file, allow_pickle=False)
      if suffix == ".npz":
        return _member(path, found, part)
  except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
    if isinstance(error, DataError):
      raise
    raise DataError(f"{path} cannot be read as {suffix}: {error}") from None
  if part:
    raise DataError(f"{path} holds one array; leave out ':{part}'.")
  return found


def _member(path: pathlib.Path, found: np.lib.npyio.NpzFile, part: str | None) -> np.ndarray:
  names = list(found)
  if part is None and len(names) != 1:
    raise DataError(f"{path} holds {len(names)} arrays; say which: {path}:NAME, {names[:20]}.")
  if part is not None and part not in names:
    raise DataError(unknown(f"array in {path}", part, names))
  return found[part or names[0]]


def _columns(path: pathlib.Path, part: str | None, delimiter: str) -> np.ndarray:
  with path.open(newline="", encoding="utf-8-sig") as file:
    rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
  if not rows:
    raise DataError(f"{path} is empty.")
  header = rows[0] if _is_header(rows) else None
  body = rows[1:] if header else rows
  if not body:
    raise DataError(f"{path} has a header and no rows.")
  width = len(rows[0])
  for number, row in enumerate(rows, 1):
    if len(row) != width:
      raise DataError(f"{path}: row {number} has {len(row)} cells, the first row has {width}.")
  chosen = _chosen(path, part, header, width)
  cells = [np.array([row[i].strip() for row in body]) for i in chosen]
  for i, column in zip(chosen, cells):
    if (column == "").any():
      row_number = int(np.argmax(column == "")) + (2 if header else 1)
      raise DataError(
        f"{path}: the cell in row {row_number}, column {i} is empty; remove the row, or fill it."
      )
  if len(cells) == 1:
    return _one(cells[0])
  return np.stack([_numbers(path, i, column, header) for i, column in zip(chosen, cells)], axis=1)


def _one(column: np.ndarray) -> np.ndarray:
  """One column: whole numbers, numbers, or words as classes."""
  for kind in (np.int64, np.float64):
    try:
      return column.astype(kind)
    except (ValueError, OverflowError):
      continue
  return np.unique(column, return_inverse=True)[1].astype(np.int64)


def _numbers(path: pathlib.Path, i: int, column: np.ndarray, header: list[str] | None):
  try:
    return column.astype(np.float64)
  except ValueError:
    bad = next(k for k, cell in enumerate(column) if _is_word(cell))
    raise DataError(
      f"{path}: '{column[bad]}' in row {bad + (2 if header else 1)}, column {i} is no number. "
      "A column of words can be taken alone, as classes."
    ) from None


def _chosen(
  path: pathlib.Path, part: str | None, header: list[str] | None, width: int
) -> list[int]:
  if part is None:
    return list(range(width))
  names = {name.strip(): i for i, name in enumerate(header or ())}
  chosen: list[int] = []
  for item in (piece.strip() for piece in part.split(",")):
    numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
    if item in names:
      chosen.append(names[item])
    elif numbers and int(numbers[2] or numbers[1]) < width:
      chosen.extend(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
    else:
      raise DataError(
        unknown(f"column of {path}", item, names or map(str, range(width)), "Columns count from 0.")
      )
  if not chosen:
    raise DataError(f"{path}: '{part}' chooses no column.")
  return chosen


def _is_header(rows: list[list[str]]) -> bool:
  """Whether the first row has words that do not come again below: those would be classes."""
  words = [i for i, cell in enumerate(rows[0]) if _is_word(cell)]
  return bool(words) and not any(
    rows[0][i] == row[i] for row in rows[1:] for i in words if i < len(row)
  )


def _is_word(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return bool(cell.strip())
  return False
