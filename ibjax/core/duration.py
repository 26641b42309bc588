"""Durations in a config: "10 epochs", "3000 steps" or "600000 examples"."""

from __future__ import annotations

import math
import re

from ibjax.core.errors import ConfigError, unknown

UNITS = ("steps", "epochs", "examples")
_PATTERN = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z]+)\s*$")


def to_steps(text: str, *, batch_size: int, steps_per_epoch: int, name: str = "duration") -> int:
  """Converts a duration to a number of steps, rounded up.

  Args:
    text: a number and a unit: steps, epochs or examples (singular too).
    batch_size: examples per step.
    steps_per_epoch: whole batches in the training split.
    name: the config key, for the message.

  Returns:
    The number of steps.

  Raises:
    ConfigError: not a number and a unit; names the nearest unit.

  Example:
    >>> from ibjax.core.duration import to_steps
    >>> to_steps("10 epochs", batch_size=200, steps_per_epoch=300)
    3000
  """
  match = _PATTERN.match(text)
  if not match:
    raise ConfigError(
      f"{name}={text!r} is not a duration; write a number and a unit, like '10 epochs', "
      "'3000 steps' or '600000 examples'."
    )
  number, unit = float(match[1]), match[2]
  unit = unit if unit.endswith("s") else unit + "s"
  if unit == "steps":
    return math.ceil(number)
  if unit == "epochs":
    return math.ceil(number * steps_per_epoch)
  if unit == "examples":
    return math.ceil(number / batch_size)
  raise ConfigError(f"{name}={text!r}: " + unknown("unit", match[2], UNITS))
