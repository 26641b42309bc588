"""A network of fixed weights: what comes after a layer, for dictionaries trained end to end."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.fixed_network import fixed_weights
from ibjax.core.types import Case, Model


def readout(
  hidden: int = 64, seed: int = 0, gain: float = 1.0, out: int = 10, dtype: str = "float32"
) -> Model:
  """Reads logits off an activation, and does not learn.

  Formula: logits = gain relu(x A) B, A and B random, drawn from `seed`, and kept in the state, so
  that no optimiser moves them.

  Use it as the decoder of `ibjax.objectives.sparse.end_to_end` with the source
  "readout:logits:SOURCE", whose targets are this network's own logits. Any other model stands in
  the same way: its weights in the state, in place of the parameters.

  Args:
    hidden: width of the hidden layer, as in the source.
    seed: of the weights, as in the source.
    gain: multiplies the logits, as in the source.
    out: number of logits.
    dtype: compute type, "float32" or "bfloat16".

  Returns:
    A `Model` without parameters.

  Raises:
    InputError: a width below 1, an unknown dtype.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.readout import readout
    >>> model = readout(hidden=8, out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    >>> params, model.apply(params, state, jnp.ones((2, 4)), key=None, train=True)[0].shape
    ({}, (2, 3))

  Source: definition.
  """
  checks.at_least("hidden", hidden, 1)
  checks.at_least("out", out, 1)
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))

  def init(key, x):
    first, last = fixed_weights(x.reshape(x.shape[0], -1).shape[1], hidden, out, seed)
    return {}, {"first": jnp.asarray(first), "last": jnp.asarray(last)}

  def apply(params, state, x, *, key, train):
    first, last = (state[name].astype(jnp.dtype(dtype)) for name in ("first", "last"))
    x = x.reshape(x.shape[0], -1).astype(jnp.dtype(dtype))
    return gain * (jax.nn.relu(x @ first) @ last), state

  return Model(init, apply)


CASES = (
  Case(
    name="nothing in, nothing out",
    hyper=dict(hidden=4, out=2),
    inputs=lambda: dict(x=jnp.zeros((1, 3))),
    expected=dict(out=[[0.0, 0.0]]),
    source="definition",
  ),
)
