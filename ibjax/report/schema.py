"""Strict reading of what a person wrote: known keys, values that fit, errors that say where."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ibjax.core.errors import ConfigError, unknown
from ibjax.report.runs import is_number


def _is_text(value: Any) -> bool:
  return isinstance(value, str) and bool(value.strip())


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _is_seeds(value: Any) -> bool:
  return (
    isinstance(value, (tuple, list))
    and bool(value)
    and all(_is_int(seed) and seed >= 0 for seed in value)
    and len(set(value)) == len(value)
  )


# Kind -> (whether a value is one, what it is in words).
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
  "text": (_is_text, "a text that is not empty"),
  "words": (lambda value: isinstance(value, str), "a text"),
  "number": (lambda value: is_number(value) and math.isfinite(value), "a finite number"),
  "positive": (lambda v: is_number(v) and math.isfinite(v) and v > 0, "a number above zero"),
  "count": (lambda value: _is_int(value) and value > 0, "a whole number above zero"),
  "digits": (lambda value: _is_int(value) and 0 <= value <= 12, "a whole number from 0 to 12"),
  "int": (_is_int, "a whole number"),
  "bool": (lambda value: isinstance(value, bool), "True or False"),
  "texts": (
    lambda v: isinstance(v, (tuple, list)) and bool(v) and all(_is_text(text) for text in v),
    "a tuple of one or more texts (a single one is written ('name',))",
  ),
  "seeds": (_is_seeds, "a tuple of one or more different whole numbers, 0 or above"),
  "mapping": (
    lambda v: isinstance(v, Mapping) and all(isinstance(key, str) for key in v),
    "a dictionary with texts as keys",
  ),
  "sequence": (lambda value: isinstance(value, (tuple, list)), "a tuple"),
  "function": (callable, "a function"),
}


def fields(
  where: str, given: Any, required: Mapping[str, str], optional: Mapping[str, str]
) -> dict[str, Any]:
  """Checks one dictionary of a person's data.

  Args:
    where: what it is, with its file, for the messages.
    given: what stands there.
    required: key -> kind (a key of `KINDS`) of what must be there.
    optional: key -> kind of what may be there; None counts as absent.

  Returns:
    The dictionary, without optional keys that are None.

  Raises:
    ConfigError: not a dictionary, a key is missing or unknown (names the nearest one), or a
      value does not fit.

  Example:
    >>> from ibjax.report.schema import fields
    >>> fields("rows[0]", {"label": "VIB"}, {"label": "text"}, {"at": "number"})
    {'label': 'VIB'}
  """
  fits(where, given, "mapping")
  known = {**required, **optional}
  for key in given:
    if key not in known:
      raise ConfigError(f"{where}: {unknown('key', key, known)}")
  for key in required:
    if key not in given:
      has = f" It has {', '.join(given)}." if given else ""
      raise ConfigError(
        f"{where}: the key '{key}' is missing; expected {_words(required[key])}.{has}"
      )
  found = {key: value for key, value in given.items() if key in required or value is not None}
  for key, value in found.items():
    fits(f"{where}, key '{key}'", value, known[key])
  return found


def fits(where: str, value: Any, kind: str) -> Any:
  """Checks one value.

  Args:
    where: what it is, with its file, for the message.
    value: what stands there.
    kind: a key of `KINDS`.

  Returns:
    The value.

  Raises:
    ConfigError: it is no such value.
  """
  if not KINDS[kind][0](value):
    shown = repr(value)
    shown = shown if len(shown) < 80 else f"{shown[:77]}..."
    raise ConfigError(f"{where}: found {shown}, expected {_words(kind)}.")
  return value


def among(where: str, kind: str, name: str, options: Collection[str]) -> str:
  """Checks a name that must exist.

  Args:
    where: where it is written, for the message.
    kind: what it names, e.g. "cell".
    name: the name.
    options: all there are.

  Returns:
    The name.

  Raises:
    ConfigError: there is none of that name; names the nearest one.
  """
  if name not in options:
    raise ConfigError(f"{where}: {unknown(kind, name, options)}")
  return name


def unique(where: str, kind: str, names: Iterable[str]) -> None:
  """Checks that no name stands twice.

  Args:
    where: where they are written, for the message.
    kind: what they name, e.g. "cells".
    names: the names in order.

  Raises:
    ConfigError: one stands twice; says which, and at which places.
  """
  seen: dict[str, int] = {}
  for number, name in enumerate(names):
    if name in seen:
      raise ConfigError(
        f"{where}: two {kind} are named '{name}' (numbers {seen[name]} and {number}, counted from "
        "0). Results are filed by that name: give each its own."
      )
    seen[name] = number


def _words(kind: str) -> str:
  return KINDS[kind][1]
