"""Data sets that a user keeps as named arrays: where they are, and which array is which."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

from ibjax.core.errors import ConfigError, DataError, nearest

_REQUIRED = ("train", "test")
_OPTIONAL = ("validation",)


def locate(kind: str, argument: str, data_dir: pathlib.Path) -> pathlib.Path:
  """Finds what "kind:PATH" names: an absolute path, or one below the current folder or data_dir.

  Args:
    kind: the source's name, for messages.
    argument: the PATH.
    data_dir: where prepared sets live.

  Returns:
    An existing path.

  Raises:
    ConfigError: no PATH was given.
    DataError: nothing there; says where it looked and what is nearest.
  """
  if not argument:
    raise ConfigError(f"source '{kind}' needs a path: write '{kind}:PATH'.")
  tried = [pathlib.Path(argument).expanduser()]
  if not tried[0].is_absolute():
    tried = [pathlib.Path.cwd() / tried[0], data_dir / tried[0]]
  for path in tried:
    if path.exists():
      return path
  message = f"{kind}:{argument}: there is no " + " and no ".join(str(path) for path in tried) + "."
  for path in tried:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    if (guess := nearest(path.name, names)) is not None:
      message += f" Did you mean {path.parent / guess}?"
      break
  raise DataError(message)


def splits_of(where: str, names: Iterable[str], suffix: str = "") -> list[str]:
  """Checks that arrays are named x_train, y_train, x_test, y_test, perhaps x_/y_validation.

  Args:
    where: what holds them, for messages.
    names: the names there are; those that begin with neither x_ nor y_ do not matter.
    suffix: what follows each name, such as ".npy".

  Returns:
    The splits, "train" and "test" first.

  Raises:
    DataError: a name is missing or unknown.
  """
  found = sorted(names)
  splits = [*_REQUIRED]
  splits += [s for s in _OPTIONAL if {f"x_{s}{suffix}", f"y_{s}{suffix}"} & set(found)]
  wanted = [f"{axis}_{split}{suffix}" for split in splits for axis in "xy"]
  known = [f"{axis}_{split}{suffix}" for split in _REQUIRED + _OPTIONAL for axis in "xy"]
  stray = [n for n in found if n[:2] in ("x_", "y_") and n.endswith(suffix) and n not in known]
  if missing := [name for name in wanted if name not in found]:
    others = [name for name in found if name not in known]
    guesses = {name: nearest(name, others) for name in missing}
    hints = [f"'{guess}' looks like '{name}'" for name, guess in guesses.items() if guess]
    raise DataError(
      f"{where} has no "
      + ", ".join(f"'{name}'" for name in missing)
      + ". "
      + ("".join(f"{hint}: rename it. " for hint in hints))
      + f"Found: {', '.join(found) or 'nothing'}. Expected: {', '.join(wanted)}."
    )
  if stray:
    # Leaving it out in silence would train without a split that somebody meant to be used.
    raise DataError(
      f"{where} has '{stray[0]}', which is none of {', '.join(known)}. "
      f"Rename it to '{nearest(stray[0], known) or known[-2]}' or remove it."
    )
  return splits
