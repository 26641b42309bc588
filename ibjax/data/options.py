"""The "key=value,..." after the name of a source."""

from __future__ import annotations

from collections.abc import Mapping

from ibjax.core.errors import ConfigError, unknown


def parse(where: str, text: str, defaults: Mapping[str, float]) -> dict[str, float]:
  """Reads numbers that an argument sets, over their defaults.

  Args:
    where: the source and what it names, for messages, e.g. "toy:moons".
    text: "" or "key=value,...".
    defaults: every key there is; a whole number stays one.

  Returns:
    Key -> number, for every key of `defaults`.

  Raises:
    ConfigError: an unknown key (names the nearest one), or a value of another kind.

  Example:
    >>> from ibjax.data.options import parse
    >>> parse("toy:moons", "n=50", dict(n=100, noise=0.2))
    {'n': 50, 'noise': 0.2}
  """
  values = dict(defaults)
  for item in text.split(",") if text else []:
    key, _, value = item.partition("=")
    if key not in values:
      raise ConfigError(unknown(f"key of {where}", key, values, "Write key=value."))
    kind = type(values[key])
    try:
      values[key] = kind(value)
    except ValueError:
      wanted = "a whole number" if kind is int else "a number"
      raise ConfigError(f"{where}: {key}={value!r} is not {wanted}.") from None
  return values


def check_range(where: str, values: Mapping[str, float], ranges: Mapping[str, tuple]) -> None:
  """Raises ConfigError unless every number lies in its range.

  Args:
    where: as in `parse`.
    values: key -> number.
    ranges: key -> (least, largest), both allowed; infinity is no limit.

  Raises:
    ConfigError: a number out of its range, or not finite.
  """
  for key, (low, high) in ranges.items():
    # Not `low <= x <= high` alone: an infinite bound would let infinity through.
    if not low <= values[key] <= high or abs(values[key]) == float("inf"):
      limit = f">= {low}" if high == float("inf") else f"in [{low}, {high}]"
      raise ConfigError(f"{where}: {key}={values[key]:g} must be finite and {limit}.")
