"""Many data sets of one shape, or many seeds, as one compiled program."""

from __future__ import annotations

import functools
from typing import Any

import jax

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.estimators.base.contract import Estimator

Array = jax.Array
STRATEGIES = ("auto", "map", "vmap")


def value_many(
  estimator: Estimator, x: Any, y: Any, keys: Array, *, strategy: str = "auto"
) -> Array:
  """Estimates from m data sets in one program, compiled once for each shape.

  Args:
    estimator: one that is `jittable`.
    x: [m, n, dx].
    y: [m, n, dy].
    keys: [m] typed random keys, one for each data set.
    strategy: "vmap" trains all side by side, until the last one stops; "map" one after another,
      each until it stops; "auto" takes "map" on CPUs, where it is faster, else "vmap".

  Returns:
    [m] nats.

  Raises:
    InputError: an estimator that cannot be traced, lengths that differ.

  Example:
    >>> import jax
    >>> import numpy as np
    >>> from ibjax.estimators.base.many import value_many
    >>> from ibjax.estimators.variational.club import club
    >>> x = np.random.default_rng(0).normal(size=(3, 50, 1))
    >>> value_many(club(), x, x + 1.0, jax.random.split(jax.random.key(0), 3)).shape
    (3,)
  """
  checks.one_of("strategy", strategy, STRATEGIES)
  if not estimator.jittable:
    raise InputError(f"{estimator.name} cannot be traced; call it once for each data set.")
  if not len(x) == len(y) == len(keys):
    raise InputError(f"{len(x)} x, {len(y)} y and {len(keys)} keys; expected one of each per set.")
  if strategy == "auto":
    strategy = "map" if jax.default_backend() == "cpu" else "vmap"
  return _program(estimator, strategy)(x, y, keys)


@functools.lru_cache(maxsize=64)
def _program(estimator: Estimator, strategy: str) -> Any:
  def one(given):
    x, y, key = given
    return estimator.value(x, y, None, key).nats

  def run(x, y, keys):
    if strategy == "map":
      return jax.lax.map(one, (x, y, keys))
    return jax.vmap(lambda *given: one(given))(x, y, keys)

  return jax.jit(run)
