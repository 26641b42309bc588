"""Putting something else in the place of what enters or leaves one layer of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax

Array = jax.Array


@contextlib.contextmanager
def splicing(name: str, function: Callable[[Array], Array]) -> Iterator[list[str]]:
  """Sends what enters or leaves one layer through a function, for flax calls inside the block.

  Args:
    name: of the layer, as `ibjax.models.capture.recording` names it, e.g. "dense_1.in",
      "block_0/mlp.out", "dense_0#1.out" for a second call.
    function: `function(value) -> value` of the same shape.

  Yields:
    A list that holds the name once for each time the function was called: empty at the end when
    there is no such layer.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.mlp import mlp
    >>> from ibjax.models.splice import splicing
    >>> model = mlp(hidden=(2,), out=1)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    >>> with splicing("dense_1.in", jnp.zeros_like) as met:
    ...   out, _ = model.apply(params, state, jnp.ones((1, 3)), key=None, train=False)
    >>> met, out.tolist()  # without its hidden units the network gives its last bias
    (['dense_1.in'], [[0.0]])
  """
  seen: dict[str, int] = {}
  met: list[str] = []

  def spliced(here: str, value: Any) -> Any:
    if here != name or not isinstance(value, jax.Array):
      return value
    met.append(here)
    return function(value).astype(value.dtype)

  def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    if context.method_name != "__call__":
      return call(*args, **kwargs)
    path = "/".join(context.module.path)
    number = seen[path] = seen.get(path, -1) + 1
    layer = f"{path}#{number}" if number else path
    if args:
      args = (spliced(f"{layer}.in", args[0]), *args[1:])
    return spliced(f"{layer}.out", call(*args, **kwargs))

  with nn.intercept_methods(intercept):
    yield met
