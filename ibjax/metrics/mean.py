"""Averages as (sum, count) states, which add up over batches, devices and resumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core.errors import InputError
from ibjax.core.types import MetricState

Array = jax.Array


def mean_state(name: str, value: Array, mask: Array) -> tuple[Array, Array]:
  """Reduces per-example values to a (sum, count) state.

  Args:
    name: what the values are called, for the message.
    value: [n], or a scalar, which counts as one value.
    mask: [n] bool, True where the example counts.

  Returns:
    (sum, count), float32 scalars. A masked value is never looked at, so padding may be NaN.

  Raises:
    InputError: the value is neither a scalar nor of the mask's shape.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.metrics.mean import mean_state
    >>> total, count = mean_state("a", jnp.array([1.0, 9.0]), jnp.array([True, False]))
    >>> float(total), float(count)
    (1.0, 1.0)
  """
  value = jnp.asarray(value, jnp.float32)
  if value.ndim == 0:
    return value, jnp.float32(1.0)
  if value.shape != mask.shape:
    raise InputError(
      f"{name} has shape {list(value.shape)}, expected one value per example, "
      f"{list(mask.shape)}, or a scalar."
    )
  return jnp.sum(jnp.where(mask, value, 0.0)), jnp.sum(mask, dtype=jnp.float32)


def add(a: MetricState, b: MetricState) -> MetricState:
  """Adds two states of the same names.

  Args:
    a: name -> (sum, count).
    b: the same names.

  Returns:
    The same names; sums and counts are added.
  """
  return jax.tree.map(jnp.add, a, b)


def finalize(state: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
  """Turns states into averages, on the host; a count of zero gives NaN.

  Args:
    state: name -> (sum, count), scalars, or [members] of a population.

  Returns:
    Name -> sum / count, a float, or [members] float64.
  """
  averages = {}
  for name, (total, count) in state.items():
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
      average = np.where(count > 0, total / count, np.nan)
    averages[name] = average if average.ndim else float(average)
  return averages
