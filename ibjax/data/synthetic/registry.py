"""From the name of a task to the task: "family:key=value,..." or "bmi:<published id>"."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ibjax.core.errors import ConfigError, unknown
from ibjax.data.synthetic import (
  additive,
  beyond_normal,
  combine,
  conditional,
  discrete,
  gamma,
  images,
  layers,
  mixtures,
  normal,
  student,
  transforms,
  twelve_bit,
)
from ibjax.data.synthetic.task import Task

PREFIX = "bmi:"
_HINT = "Write family:key=value,..., or bmi:<published id>; see `ibjax list tasks`."

# Name -> factory, whose keywords are the keys of the grammar.
FAMILIES: Mapping[str, Callable[..., Task]] = {
  build.__name__: build
  for module in (
    normal,
    student,
    additive,
    gamma,
    mixtures,
    discrete,
    conditional,
    layers,
    images,
    twelve_bit,
  )
  for build in module.FAMILIES
}


# Keys of every family -> type and default.
EVERY: Mapping[str, tuple[Any, Any]] = {
  "copies": (int, 1),
  "pad": (int, 0),
  "then": (tuple[str, ...], ()),
}


def find(name: str) -> Task:
  """Returns the task of a name.

  Several values of one key are joined by slashes. Every family takes three more keys, in this
  order of effect: `copies`, independent copies side by side, whose information adds up; `pad`,
  coordinates of pure noise on each side; `then`, transforms which leave the information unchanged,
  applied one after another.

  Args:
    name: "bmi:<id>" for the 40 published tasks, else "family" or "family:key=value,...".

  Returns:
    A `Task`.

  Raises:
    ConfigError: an unknown name, family or key, with the nearest one; a value of another type.
    InputError: a value out of range.

  Example:
    >>> from ibjax.data.synthetic import find
    >>> task = find("gaussian:d=3,rho=0.6")
    >>> round(task.nats, 6)
    0.669431
    >>> [array.shape for array in task.draw(100, seed=0)]
    [(100, 3), (100, 3)]
    >>> find("additive:epsilon=0.75,copies=3,pad=2,then=asinh").nats
    1.0
  """
  if name.startswith(PREFIX):
    known = beyond_normal.ids()
    if name.removeprefix(PREFIX) not in known:
      raise ConfigError(unknown("task", name, [PREFIX + task for task in known]))
    return beyond_normal.task(name.removeprefix(PREFIX))
  head, _, text = name.partition(":")
  if head not in FAMILIES:
    hint = f"Did you mean '{PREFIX}{name}'?" if name in beyond_normal.ids() else _HINT
    raise ConfigError(unknown("family of tasks", head, FAMILIES, hint))
  keywords = _parse(head, text)
  copies, pad, then = (keywords.pop(key, default) for key, (_, default) in EVERY.items())
  task = combine.pad(combine.repeat(FAMILIES[head](**keywords), copies), pad)
  return transforms.apply(task, then)


def names() -> list[str]:
  """Lists the tasks that need no keys.

  Returns:
    Every family, whose keys all have defaults, and the 40 published tasks.
  """
  return sorted(FAMILIES) + [PREFIX + task for task in beyond_normal.ids()]


def describe(name: str) -> str:
  """Says in a line what a family is and which keys it takes.

  Args:
    name: of a family, or "bmi:<id>".

  Returns:
    The first line of the factory's docstring with its keys, or the widths and the information.
  """
  if name.startswith(PREFIX):
    task = find(name)
    return f"x [{task.dx}], y [{task.dy}], I(X;Y) = {task.nats:.6f} nats; Czyz et al. 2023."
  build = FAMILIES[name]
  keys = ", ".join(inspect.signature(build).parameters)
  return f"{(inspect.getdoc(build) or '').partition(chr(10))[0]} Keys: {keys or 'none'}."


def _parse(head: str, text: str) -> dict[str, Any]:
  types = typing.get_type_hints(inspect.unwrap(FAMILIES[head]))
  types.pop("return", None)
  types.update({key: kind for key, (kind, _) in EVERY.items()})
  keywords: dict[str, Any] = {}
  for item in filter(None, text.split(",")):
    key, _, value = item.partition("=")
    if key not in types:
      raise ConfigError(unknown(f"key of task '{head}'", key, types, _HINT))
    if key in keywords:
      raise ConfigError(f"task '{head}': {key} is given twice; keep one of them.")
    try:
      keywords[key] = _convert(types[key], value)
    except ValueError:
      wanted = {int: "a whole number", float: "a finite number"}.get(
        types[key], "finite numbers joined by slashes"
      )
      raise ConfigError(f"task '{head}': {key}={value!r}, expected {wanted}.") from None
  return keywords


def _convert(kind: Any, text: str) -> Any:
  if kind in (int, str):
    return kind(text)
  if kind == tuple[str, ...]:
    return tuple(text.split("/"))
  values = tuple(float(part) for part in (text.split("/") if kind is not float else [text]))
  if not all(math.isfinite(value) for value in values):
    raise ValueError
  return values[0] if kind is float else values
