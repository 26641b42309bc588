"""The axes of a sweep as text: "objective.beta=1e-3,1e-1;encoder.hidden=(32,),(64,64)".

An axis is a config key and either a list of values or a range ("key=1e-4:1e-1:log",
"key=8:64:int"). Text becomes axes (`parse_axes`), axes get the types of a config (`typed`), and
become points, each {key: value}: all combinations or pairs (`points`), or draws
(`ibjax.core.draws.sampled`).
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from ibjax.core.config import flatten
from ibjax.core.draws import Axis, Range, check_axes, unique
from ibjax.core.errors import ConfigError, unknown

PAIRINGS = ("product", "zip")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})\s*((?::[^:]*)*)")


def parse_axes(text: str) -> tuple[Axis, ...]:
  """Reads axes from text: "key=value,value;key=low:high:log".

  Args:
    text: axes separated by ";", each a key, "=" and values separated by ",", or one range. A
      value is a number, True, False, None, a tuple in parentheses or a string, in quotes where it
      holds a separator or looks like a number.

  Returns:
    (key, values) in the order written; values is a tuple, or a `Range`.

  Raises:
    ConfigError: no axis, a key without values or twice, an empty value, an open bracket or
      quote, or a range that is none.

  Example:
    >>> from ibjax.core.axes import parse_axes
    >>> parse_axes("encoder.hidden=(32,),(64,64);objective.beta=1e-3,1e-1")
    (('encoder.hidden', ((32,), (64, 64))), ('objective.beta', (0.001, 0.1)))
    >>> parse_axes("bottleneck.dim=8:64:int:log")
    (('bottleneck.dim', Range(low=8.0, high=64.0, log=True, integer=True)),)
  """
  found: dict[str, tuple[Any, ...] | Range] = {}
  for part in _split(text, ";"):
    if not part.strip():
      continue
    key, separator, values = (piece.strip() for piece in part.partition("="))
    if not _KEY.fullmatch(key):
      raise ConfigError(
        f"'{part.strip()}' is not an axis; write key=value,value, e.g. objective.beta=1e-3,1e-1."
      )
    if not separator or not values:
      raise ConfigError(
        f"axis '{key}' has no values (an axis of length zero); write {key}=value,value."
      )
    if key in found:
      raise ConfigError(f"axis '{key}' is given twice; put all its values in one list.")
    found[key] = _values(key, values)
  if not found:
    raise ConfigError("there is no axis (an empty sweep); write key=value,value;key=value,value.")
  return tuple(found.items())


def to_text(axes: Sequence[Axis]) -> str:
  """Writes axes as `parse_axes` reads them.

  Args:
    axes: (key, values), as `parse_axes` gives them.

  Returns:
    The text.

  Example:
    >>> from ibjax.core.axes import to_text
    >>> to_text([("seed", (0, 1)), ("train.duration", ("2 epochs",))])
    'seed=0,1;train.duration=2 epochs'
  """
  return ";".join(
    f"{key}={values if isinstance(values, Range) else ','.join(map(_value_text, values))}"
    for key, values in axes
  )


def typed(axes: Sequence[Axis], config: ml_collections.ConfigDict) -> tuple[Axis, ...]:
  """Gives values the types of a config's keys: a whole number for a float key becomes a float.

  Args:
    axes: (key, values), as `parse_axes` gives them.
    config: a config that has the keys.

  Returns:
    The axes with such values.

  Raises:
    ConfigError: no such key (names the nearest), or a value of another type.

  Example:
    >>> from ibjax.core.axes import typed
    >>> from ibjax.core.config import defaults
    >>> typed([("optimizer.learning_rate", (1, 0.5))], defaults())
    (('optimizer.learning_rate', (1.0, 0.5)),)
  """
  known = dict(flatten(config.to_dict()))
  result: list[Axis] = []
  for key, values in axes:
    if key not in known:
      inside = [name for name in known if name.startswith(f"{key}.")]
      hint = f"'{key}' is a section; its keys: {', '.join(inside)}." if inside else ""
      raise ConfigError(unknown("config key", key, known, hint))
    section, _, name = key.rpartition(".")
    kind = (config[section] if section else config).get_type(name)
    if isinstance(values, Range):
      _check_range(key, values, kind)
      result.append((key, values))
    else:
      result.append((key, tuple(_typed(key, value, kind, known[key]) for value in values)))
  return tuple(result)


def points(axes: Sequence[Axis], pairing: str = "product") -> list[dict[str, Any]]:
  """Returns the points of a grid: all combinations of the values, or the values paired up.

  Args:
    axes: (key, values) without ranges.
    pairing: "product" for all combinations, the last axis changing fastest; "zip" for the first
      values of all axes, then the second ones, and so on.

  Returns:
    One {key: value} per point.

  Raises:
    ConfigError: no axis or an empty one, a range, lists of unequal length to pair, a point twice,
      or another pairing.

  Example:
    >>> from ibjax.core.axes import points
    >>> points([("seed", (0, 1)), ("objective.beta", (0.1, 0.2))], "zip")
    [{'seed': 0, 'objective.beta': 0.1}, {'seed': 1, 'objective.beta': 0.2}]
  """
  if pairing not in PAIRINGS:
    raise ConfigError(unknown("pairing", pairing, PAIRINGS))
  check_axes(axes)
  lists: list[tuple[Any, ...]] = []
  for key, values in axes:
    if isinstance(values, Range):
      raise ConfigError(
        f"axis '{key}' is a range ({values}), and a grid needs a list: write {key}=value,value, "
        f"or draw from the range with --kind=random or --kind=lhs."
      )
    lists.append(values)
  if pairing == "zip":
    for (key, _), values in zip(axes, lists):
      if len(values) != len(lists[0]):
        raise ConfigError(
          f"axes that are paired need equal lengths: '{axes[0][0]}' has {len(lists[0])} values, "
          f"'{key}' has {len(values)}."
        )
  combined = zip(*lists) if pairing == "zip" else itertools.product(*lists)
  keys = [key for key, _ in axes]
  found = [dict(zip(keys, values)) for values in combined]
  if len(kept := unique(found)) < len(found):
    twice = next(point for i, point in enumerate(found) if i >= len(kept) or kept[i] != point)
    shown = ", ".join(f"{key}={value}" for key, value in twice.items())
    raise ConfigError(f"the point {shown} is there twice; give each value of an axis once.")
  return found


def _split(text: str, mark: str) -> list[str]:
  """Splits at a mark that is not inside brackets or quotes."""
  parts, start, opened, quote, escaped = [], 0, [], "", False
  for i, letter in enumerate(text):
    if quote:
      if letter == quote and not escaped:
        quote = ""
      escaped = letter == "\\" and not escaped
    elif letter in "'\"":
      quote = letter
    elif letter in "([{":
      opened.append(letter)
    elif letter in ")]}":
      if not opened or "([{".index(opened.pop()) != ")]}".index(letter):
        raise ConfigError(f"'{text}': the '{letter}' closes nothing.")
    elif letter == mark and not opened:
      parts.append(text[start:i])
      start = i + 1
  if opened or quote:
    raise ConfigError(f"'{text}': the {quote or opened[-1]} is never closed.")
  return [*parts, text[start:]]


def _values(key: str, text: str) -> tuple[Any, ...] | Range:
  if match := _RANGE.fullmatch(text):
    return _range(key, text, float(match[1]), float(match[2]), match[3])
  values = []
  for part in map(str.strip, _split(text, ",")):
    if not part:
      raise ConfigError(
        f"axis '{key}' has an empty value in '{text}'; an empty string is written ''."
      )
    if _RANGE.fullmatch(part):
      raise ConfigError(
        f"axis '{key}': the range {part} stands beside other values; a range stands alone."
      )
    values.append(_value(key, part))
  return tuple(values)


def _range(key: str, text: str, low: float, high: float, rest: str) -> Range:
  options = [option.strip() for option in rest.split(":")[1:]]
  for i, option in enumerate(options):
    if option not in ("log", "int"):
      raise ConfigError(f"axis '{key}': " + unknown("kind of range", option, ("log", "int")))
    if option in options[:i]:
      raise ConfigError(f"axis '{key}': the range {text} says '{option}' twice.")
  if not low < high or not math.isfinite(high - low):
    raise ConfigError(
      f"axis '{key}': the range {text} must go from a smaller to a larger finite number."
    )
  if "log" in options and low <= 0:
    raise ConfigError(f"axis '{key}': the range {text} is logarithmic, so it must start above 0.")
  if "int" in options and not (low.is_integer() and high.is_integer()):
    raise ConfigError(f"axis '{key}': the range {text} is of whole numbers; so are its bounds.")
  return Range(low, high, log="log" in options, integer="int" in options)


def _value(key: str, text: str) -> Any:
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text
  if isinstance(value, (list, set, dict)):
    raise ConfigError(f"axis '{key}': {text} is a {type(value).__name__}; write a tuple, (a, b).")
  return value if isinstance(value, (bool, int, float, str, tuple, type(None))) else text


def _value_text(value: Any) -> str:
  if not isinstance(value, str):
    return repr(value)
  try:
    plain = value != "" and _values("", value) == (value,) and _split(value, ";") == [value]
  except ConfigError:
    plain = False
  return value if plain else repr(value)


def _check_range(key: str, values: Range, kind: type) -> None:
  if kind is int and not values.integer:
    raise ConfigError(
      f"config.{key} is an int; write {values.low:g}:{values.high:g}:int for a range of whole "
      "numbers."
    )
  if kind not in (int, float):
    raise ConfigError(
      f"config.{key} is a {kind.__name__}, which the range {values} is not; write a list."
    )


def _typed(key: str, value: Any, kind: type, default: Any) -> Any:
  if value is None and default is None:
    return None
  if kind is float and type(value) in (int, float) and math.isfinite(value):
    return float(value)
  if kind is bool and value in ("true", "false"):
    return value == "true"
  if type(value) is kind:
    if kind is not float:
      return value
    raise ConfigError(f"config.{key}={value} is not a finite number.")
  if value is None:
    raise ConfigError(
      f"config.{key} is {default!r}; an axis can keep a None that the config has, not set one."
    )
  hint = ""
  if kind is tuple:
    hint = f" Write a tuple: ({value},)."
  elif kind is str:
    hint = f" Write it in quotes: '{value}'."
  found = f"{value!r}, a {type(value).__name__}"
  raise ConfigError(f"config.{key} is a {kind.__name__}; its axis has {found}.{hint}")
