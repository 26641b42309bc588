"""Checks of samples before anything is estimated: an error that teaches, or a stated warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core.errors import InputError
from ibjax.core.estimate import Note


def check(estimator: Any, x: Any, y: Any, z: Any) -> tuple[tuple[Any, Any, Any], tuple[Note, ...]]:
  """Brings samples to the form estimators take, or says what is wrong with them.

  Args:
    estimator: an `Estimator`; its fields x, y, z and min_n are read.
    x: [n, d] or [n] numbers, or [n] labels.
    y: the same, or None.
    z: the same, or None.

  Returns:
    ((x, y, z), notes): numpy arrays, None where nothing was given. Numbers are [n, d] float64;
    labels are [n] int64, numbered 0 to K-1 in their own order, all K of them present. The
    warnings are about constant columns, duplicate rows and labels given as floats.

  Raises:
    InputError: NaN or infinity, lengths that differ, too few samples, an array of a kind that the
      estimator cannot take.
  """
  notes: list[Note] = []
  made = []
  for name, array, kind in (("x", x, estimator.x), ("y", y, estimator.y), ("z", z, estimator.z)):
    made.append(_one(estimator.name, name, array, kind, notes))
  assert made[0] is not None  # every estimator takes x
  n = len(made[0])
  for name, array in zip("yz", made[1:]):
    if array is not None:
      _same_length(estimator.name, "x", made[0], name, array)
  if n < estimator.min_n:
    raise InputError(
      f"{estimator.name}: {n} samples, expected at least {estimator.min_n}. Give more samples, or "
      "a smaller k."
    )
  return (made[0], made[1], made[2]), tuple(notes)


def _one(method: str, name: str, array: Any, kind: str, notes: list[Note]) -> np.ndarray | None:
  may_lack = kind.endswith("?") or kind == "none"
  kind = kind.removesuffix("?")
  if array is None:
    if may_lack:
      return None
    raise InputError(f"{method} needs {name} ({_shown(kind)}).")
  if kind == "none":
    raise InputError(f"{method} takes no {name}; leave it out.")
  values = _finite(method, name, array)
  labels = _as_labels(values)
  if kind == "labels" or (kind == "any" and is_labels(values)):
    if labels is None:
      raise InputError(
        f"{method}: {name} must be integer labels [n]; it is {values.dtype} "
        f"{list(values.shape)}. Use an estimator for real {name}, or round it to classes."
      )
    if values.dtype.kind == "f":
      notes.append(Note("float_labels", f"{name} holds whole numbers as floats; read as labels."))
    labels = renumbered(labels)
    if labels.max() == 0:
      notes.append(
        Note("single_class", f"{name} has a single class, so it carries no information: I = 0.")
      )
    return labels
  real = values.astype(np.float64)
  real = real[:, None] if real.ndim == 1 else real
  _describe(name, real, notes)
  return real


def _finite(method: str, name: str, array: Any) -> np.ndarray:
  values = np.asarray(array)
  if values.dtype.kind not in "fiub":
    raise InputError(f"{method}: {name} holds {values.dtype}, expected numbers.")
  if values.ndim not in (1, 2) or values.size == 0:
    raise InputError(
      f"{method}: {name} has shape {list(values.shape)}, expected [n, d] or [n]; flatten images "
      "to one row each."
    )
  if values.dtype.kind == "f" and not np.isfinite(values).all():
    row = int(np.argwhere(~np.isfinite(values))[0][0])
    raise InputError(
      f"{method}: {name} is not finite at row {row} ({values[row].ravel()[:3]}); remove such rows "
      "from x and y together."
    )
  return values


def look(who: str, given: Mapping[str, Any]) -> None:
  """Checks what every estimator would refuse.

  Args:
    who: who speaks in the message.
    given: name -> array or None.

  Raises:
    InputError: no numbers, NaN or infinity, lengths that differ.
  """
  arrays = {name: _finite(who, name, a) for name, a in given.items() if a is not None}
  first, *others = arrays
  for name in others:
    _same_length(who, first, arrays[first], name, arrays[name])


def is_labels(array: Any) -> bool:
  """Whether an array is taken for labels where either would do.

  Args:
    array: any.

  Returns:
    True for integers in one column.
  """
  values = np.asarray(array)
  return values.dtype.kind in "iub" and _as_labels(values) is not None


def looks_like_labels(array: Any) -> bool:
  """Whether an array of unknown meaning is better taken for labels than for numbers.

  Args:
    array: any.

  Returns:
    True for whole numbers in one column, also as floats, with five rows a value or more.
  """
  labels = _as_labels(np.asarray(array))
  return labels is not None and len(np.unique(labels)) <= max(2, len(labels) / 5)


def _same_length(who: str, first: str, x: Any, name: str, array: Any) -> None:
  if len(array) != len(x):
    raise InputError(
      f"{who}: {first} has {len(x)} rows and {name} has {len(array)}; row i of each must be one "
      "sample."
    )


def _as_labels(values: np.ndarray) -> np.ndarray | None:
  if values.ndim == 2 and values.shape[1] == 1:
    values = values[:, 0]
  if values.ndim != 1:
    return None
  if values.dtype.kind == "f" and not ((values == np.round(values)) & (abs(values) < 2**53)).all():
    return None
  return values.astype(np.int64)


def _describe(name: str, real: np.ndarray, notes: list[Note]) -> None:
  n, d = real.shape
  constant = np.flatnonzero(np.ptp(real, axis=0) == 0)
  if len(constant):
    notes.append(
      Note(
        "constant",
        f"{name} has {len(constant)} constant columns (the first is {constant[0]}); they carry no "
        "information.",
      )
    )
  distinct = distinct_rows(real)
  if distinct < n:
    notes.append(
      Note(
        "ties",
        f"{name} has {n - distinct} duplicate rows of {n}: it is not continuous. Distances of zero "
        "mislead nearest neighbours; 'mixture' allows for them, or take an estimator of labels.",
      )
    )
  if d > n:
    notes.append(
      Note("wide", f"{name} has {d} columns and only {n} rows; reduce its dimension first.")
    )


def renumbered(array: np.ndarray) -> np.ndarray:
  """Numbers labels anew, so that all of 0 to K-1 are present; leaves numbers as they are.

  Args:
    array: [n] integers, or [n, d] floats.

  Returns:
    [n] int64 in the order of the labels, or the array itself.
  """
  if array.ndim != 1:
    return array
  return np.unique(array, return_inverse=True)[1].astype(np.int64)


def take(given: tuple[Any, Any, Any], rows: np.ndarray) -> tuple[Any, Any, Any]:
  """Takes some of the rows.

  Args:
    given: x, y, z as `check` gives them.
    rows: [m] integers.

  Returns:
    x, y, z of these rows, their labels numbered anew.
  """
  x, y, z = (None if array is None else renumbered(array[rows]) for array in given)
  return x, y, z


def distinct_rows(real: np.ndarray) -> int:
  """Counts the rows that differ.

  Args:
    real: [n, d] finite floats.

  Returns:
    How many different rows there are.
  """
  n, d = real.shape
  for column in range(min(d, 4)):  # one column without ties settles it, by a plain sort
    if len(np.unique(real[:, column])) == n:
      return n
  rows = np.ascontiguousarray(real + 0.0)  # -0.0 and 0.0 are equal but not the same bytes
  return len(np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * d)))))


def _shown(kind: str) -> str:
  return {"labels": "integer labels [n]", "real": "numbers [n, d]"}.get(kind, "numbers or labels")
