"""Errors that teach: what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IbjaxError(Exception):
  """Base of every error a user can cause; the binary prints its message without a traceback."""


class InputError(IbjaxError, ValueError):
  """An array or argument does not fit: wrong shape, range, dtype or value."""


class ConfigError(IbjaxError, ValueError):
  """A config, an override or a command line names something that does not exist or fit."""


class DataError(IbjaxError, ValueError):
  """A data set is missing, damaged, empty or holds values that cannot be trained on."""


class WorkdirError(IbjaxError, OSError):
  """A working directory cannot be used: a file in its place, not writable, somebody else's."""


class CheckpointError(IbjaxError, RuntimeError):
  """A checkpoint cannot be written or read back."""


class ClusterError(IbjaxError, RuntimeError):
  """A scheduler, or another process of a run, is missing or does not answer."""


class DivergedError(IbjaxError, ArithmeticError):
  """A loss became NaN or infinite."""


def nearest(name: str, options: Iterable[str]) -> str | None:
  """Returns the option most like `name`, or None when nothing is close.

  Args:
    name: what was written.
    options: what could have been meant.

  Returns:
    The option that differs in case only, else the closest above a similarity of 0.5, else None.
  """
  options = [str(option) for option in options]
  if name.lower() in (lowered := {option.lower(): option for option in options}):
    return lowered[name.lower()]
  matches = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
  return matches[0] if matches else None


def unknown(kind: str, name: str, options: Iterable[str], hint: str = "") -> str:
  """Builds the message for a name that does not exist: the nearest one, then all of them.

  Args:
    kind: what the name should name, e.g. "verb".
    name: what was written.
    options: all names there are; the first 20 in order are shown.
    hint: a sentence put last.

  Returns:
    One line of text.
  """
  options = sorted(str(option) for option in options)
  guess = nearest(name, options)
  message = f"unknown {kind} '{name}'."
  if guess is not None:
    message += f" Did you mean '{guess}'?"
  if options:
    shown = ", ".join(options[:20]) + (", ..." if len(options) > 20 else "")
    message += f" Known: {shown}."
  return message + (f" {hint}" if hint else "")
