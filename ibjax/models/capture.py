"""What every layer of a model takes in and gives out, without a change to the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax

Array = jax.Array


@contextlib.contextmanager
def recording() -> Iterator[dict[str, Array]]:
  """Records the inputs and outputs of all flax layers called inside the `with` block.

  Yields:
    Name -> array, filled as the layers are called, in the order in which they begin:
    "dense_0.in" is the first positional input of the layer of that path, "dense_0.out" its
    output. Nested layers are joined by slashes; the model itself has no path: ".in", ".out". A
    layer that is called again is "dense_0#1", then "dense_0#2". What is no array is left out.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.capture import recording
    >>> from ibjax.models.mlp import mlp
    >>> model = mlp(hidden=(8,), out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> with recording() as record:
    ...   _ = model.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> record["dense_1.in"].shape  # the hidden layer after its activation
    (2, 8)
  """
  record: dict[str, Array] = {}
  seen: dict[str, int] = {}

  def intercept(
    function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext
  ) -> Any:
    if context.method_name != "__call__":
      return function(*args, **kwargs)
    path = "/".join(context.module.path)
    number = seen[path] = seen.get(path, -1) + 1
    name = f"{path}#{number}" if number else path
    if args and isinstance(args[0], jax.Array):
      record[f"{name}.in"] = args[0]
    out = function(*args, **kwargs)
    if isinstance(out, jax.Array):
      record[f"{name}.out"] = out
    return out

  with nn.intercept_methods(intercept):
    yield record
