"""The model that changes nothing: for activations that are coded as they are."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model

Array = jax.Array


def identity(out: int = 1024, dtype: str = "float32") -> Model:
  """Passes its input on, flattened.

  Formula: f(x) = x.

  Use it as encoder and decoder of a bottleneck that does both itself: a sparse autoencoder, or a
  quantiser, of stored activations.

  Args:
    out: width of the output, which must be the input's.
    dtype: compute type, "float32" or "bfloat16".

  Returns:
    A `Model` without parameters.

  Raises:
    InputError: an unknown dtype, a width below 1, or an input of another width.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.models.identity import identity
    >>> model = identity(out=2)
    >>> model.apply({}, {}, jnp.ones((3, 2)), key=None, train=True)[0].shape
    (3, 2)

  Source: definition.
  """
  checks.at_least("out", out, 1)
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))

  def flat(x: Array) -> Array:
    x = x.reshape(x.shape[0], -1)
    if x.shape[1] != out:
      raise InputError(
        f"the identity is given {x.shape[1]} numbers an example, and {out} are wanted behind it. "
        f"Set the width of the bottleneck, config.bottleneck.dim, to {x.shape[1]}, or take other "
        "data."
      )
    return x.astype(jnp.dtype(dtype))

  def init(key, x):
    flat(x)
    return {}, {}

  def apply(params, state, x, *, key, train):
    return flat(x), state

  return Model(init, apply)


CASES = (
  Case(
    name="unchanged",
    hyper=dict(out=2),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0]])),
    expected=dict(out=[[1.0, -2.0]]),
    source="definition",
  ),
)
