"""Small checks that raise with the shape or value found; they cost nothing once compiled."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ibjax.core.errors import InputError

Array = jax.Array


def is_concrete(value: Any) -> bool:
  """True when `value` is a number now, False when it is traced and has no value yet.

  Args:
    value: a number, an array or a tracer.

  Returns:
    Whether `float(value)` can be asked for.
  """
  return not isinstance(value, jax.core.Tracer)


def shape(name: str, value: Any, expected: tuple[int | None | str, ...]) -> None:
  """Raises InputError unless `value` has the expected shape; None or a name matches any size.

  Args:
    name: how the caller calls the array.
    value: an array.
    expected: one entry per axis: a size, or None or a letter for any size. The same letter
      twice must match the same size.

  Raises:
    InputError: another number of axes, or a size that does not match.
  """
  found = np.shape(value)
  sizes: dict[str, int] = {}
  fits = len(found) == len(expected)
  for size, want in zip(found, expected):
    if isinstance(want, str):
      fits = fits and sizes.setdefault(want, size) == size
    elif want is not None:
      fits = fits and size == want
  if not fits:
    wanted = "[" + ", ".join("any" if want is None else str(want) for want in expected) + "]"
    raise InputError(f"{name} has shape {list(found)}, expected {wanted}.")


def at_least(name: str, value: Any, low: float, *, strict: bool = False) -> None:
  """Raises InputError when a concrete scalar is NaN or below `low`; traced values pass.

  Args:
    name: how the caller calls the value.
    value: a scalar; a traced one is not looked at.
    low: the least value allowed.
    strict: refuse `low` itself too.

  Raises:
    InputError: the value is NaN or too small.
  """
  if not is_concrete(value):
    return
  number = float(value)
  if np.isnan(number) or number < low or (strict and number == low):
    relation = "greater than" if strict else "at least"
    raise InputError(f"{name} is {number:g}, expected a number {relation} {low:g}.")


def between(name: str, value: Any, low: float, high: float, *, open_high: bool = False) -> None:
  """Raises InputError when a concrete scalar lies outside [low, high] (or [low, high)).

  Args:
    name: how the caller calls the value.
    value: a scalar; a traced one is not looked at.
    low: the least value allowed.
    high: the largest value allowed.
    open_high: refuse `high` itself too.

  Raises:
    InputError: the value is NaN or outside the interval.
  """
  if not is_concrete(value):
    return
  number = float(value)
  if np.isnan(number) or number < low or number > high or (open_high and number == high):
    bracket = ")" if open_high else "]"
    raise InputError(f"{name} is {number:g}, expected a number in [{low:g}, {high:g}{bracket}.")


def one_of(name: str, value: str, options: tuple[str, ...]) -> None:
  """Raises InputError, naming the nearest option, unless `value` is one of them.

  Args:
    name: how the caller calls the argument.
    value: the option chosen.
    options: the options there are.

  Raises:
    InputError: the value is none of them.
  """
  from ibjax.core.errors import unknown

  if value not in options:
    raise InputError(unknown(name, str(value), options))
