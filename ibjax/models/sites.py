"""Replacing what layers of a model give out, without a change to the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import flax.linen as nn
import jax

from ibjax.core.errors import ConfigError, unknown

Array = jax.Array


@contextlib.contextmanager
def replacing(functions: Mapping[str, Callable[[Array], Array]]) -> Iterator[None]:
  """Sends the outputs of named layers through functions, for all flax calls inside the block.

  Args:
    functions: path of a layer, as `ibjax.models.capture.recording` names it without ".out", ->
      `function(out) -> out` of the same shape and type. A layer called twice meets it twice.

  Yields:
    Nothing. What the functions close over is traced with the call: within `jax.checkpoint` or
    `jax.grad` they may not hand values to the outside other than by what the call returns.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.mlp import mlp
    >>> from ibjax.models.sites import replacing
    >>> model = mlp(hidden=(), out=2)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> with replacing({"dense_0": lambda out: out + 1.0}):
    ...   model.apply(params, state, jnp.zeros((1, 3)), key=None, train=False)[0].tolist()
    [[1.0, 1.0]]
  """

  def intercept(
    function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext
  ) -> Any:
    out = function(*args, **kwargs)
    if context.method_name != "__call__":
      return out
    replace = functions.get("/".join(context.module.path))
    return out if replace is None else replace(out)

  with nn.intercept_methods(intercept):
    yield


def matching(patterns: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
  """Chooses layers by patterns.

  Args:
    patterns: of paths; "*" stands for any text, slashes too.
    names: the paths there are.

  Returns:
    The names that match one pattern or more, in their own order.

  Raises:
    ConfigError: a pattern that matches none; names the nearest.

  Example:
    >>> from ibjax.models.sites import matching
    >>> matching(("block_*/mlp",), ("block_0/attention", "block_0/mlp", "block_1/mlp"))
    ('block_0/mlp', 'block_1/mlp')
  """
  for pattern in patterns:
    if not any(fnmatchcase(name, pattern) for name in names):
      raise ConfigError(unknown("layer", pattern, names, "Patterns take * for any text."))
  return tuple(name for name in names if any(fnmatchcase(name, p) for p in patterns))
