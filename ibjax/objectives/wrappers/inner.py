"""The objective inside a wrapper: built with the wrapper's beta, its price found again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core.errors import ConfigError, InputError
from ibjax.core.resolver import bind, resolve
from ibjax.core.types import Array, Objective, Scalar, Terms

VIB = "ibjax.objectives.variational.vib:vib"


def build(method: str, inner: Mapping[str, Any] | None, beta: Scalar) -> Objective:
  """Builds the objective inside a wrapper at a beta.

  Args:
    method: the wrapper's name, for messages.
    inner: its section, {"fn": "module:factory", keyword: value}; VIB when None.
    beta: what its price is now; may be traced.

  Returns:
    The `Objective`.

  Raises:
    ConfigError: no such objective, one without a beta, or one whose beta the section sets too.

  Example:
    >>> from ibjax.objectives.wrappers.inner import build
    >>> build("target_rate", dict(fn="ibjax.objectives.variational.ceb:ceb"), 0.1).couples
    False
  """
  section = dict(inner or {"fn": VIB})
  if "beta" in section:
    raise ConfigError(
      f"config.objective.inner.beta={section['beta']!r}: {method} sets the beta of what it wraps. "
      "Remove that key."
    )
  if "fn" in section and "beta" not in inspect.signature(resolve(section["fn"])).parameters:
    raise ConfigError(
      f"{method} wraps an objective that has a beta, and {section['fn']} has none. "
      "`ibjax list objectives` shows them all."
    )
  return bind(section, beta=beta)


def price(method: str, terms: Terms, beta: Scalar, mask: Array) -> tuple[list[str], Array]:
  """Finds what an objective multiplies by its beta.

  Args:
    method: the wrapper's name, for messages.
    terms: what the objective returned.
    beta: the very object it was built with.
    mask: [n] bool, True where the example counts.

  Returns:
    (names of the losses whose weight is beta, the sum of their averages: scalar nats).

  Raises:
    InputError: there is none.
  """
  names = [name for name, term in terms.losses.items() if term.weight is beta]
  if not names:
    raise InputError(
      f"{method} found no loss that beta alone multiplies among {', '.join(terms.losses)}; "
      "an objective that can be wrapped gives Term(value, beta)."
    )
  return names, sum((average(terms.losses[name].value, mask) for name in names), jnp.float32(0.0))


def average(value: Array, mask: Array) -> Array:
  """Averages per-example values over the examples that count; a scalar is its own average.

  Args:
    value: [n] or a scalar.
    mask: [n] bool.

  Returns:
    A float32 scalar.
  """
  if value.ndim == 0:
    return value.astype(jnp.float32)
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
  return jnp.sum(jnp.where(mask, value, 0.0), dtype=jnp.float32) / count
