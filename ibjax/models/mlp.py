"""Multi-layer perceptron.

Source: the 784-1024-1024 network of Alemi et al. 2017 (arXiv:1612.00410), section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Case, Model, Scalar

Array = jax.Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "relu": jax.nn.relu,
  "tanh": jnp.tanh,
  "elu": jax.nn.elu,
  "gelu": jax.nn.gelu,
  "silu": jax.nn.silu,
  "leaky_relu": jax.nn.leaky_relu,
}


class _Mlp(nn.Module):
  hidden: tuple[int, ...]
  out: int
  activation: str
  activate_out: bool
  dropout: Scalar | None
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array, key: Array | None) -> Array:
    activate = ACTIVATIONS[self.activation]
    x = x.reshape(x.shape[0], -1).astype(self.dtype)
    widths = (*self.hidden, self.out)
    for index, width in enumerate(widths):
      x = nn.Dense(width, dtype=self.dtype, param_dtype=jnp.float32, name=f"dense_{index}")(x)
      if index < len(widths) - 1 or self.activate_out:
        x = activate(x)
        if self.dropout is not None and key is not None:
          x = _dropout(rng.stream(key, "dropout", index), x, self.dropout)
    return x


def _dropout(key: Array, x: Array, rate: Scalar) -> Array:
  # flax's own layer branches on the rate in Python, so it cannot be traced.
  keep = 1.0 - jnp.asarray(rate, jnp.float32)
  kept = rng.uniform(key, x.shape) < keep
  return jnp.where(kept, x / jnp.maximum(keep, 1e-6).astype(x.dtype), 0.0).astype(x.dtype)


def mlp(
  hidden: tuple[int, ...] = (1024, 1024),
  out: int = 10,
  activation: str = "relu",
  activate_out: bool = False,
  dropout: Scalar | None = None,
  dtype: str = "float32",
) -> Model:
  """Fully connected layers with an activation between them; inputs are flattened.

  Formula: h_0 = x; h_{l+1} = activation(W_l h_l + b_l); out = W_L h_L + b_L.

  Args:
    hidden: widths of the hidden layers; () gives a linear map.
    out: width of the output.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    activate_out: apply the activation to the output too.
    dropout: probability of dropping a unit after each activation, in training; None is off.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`.

  Raises:
    InputError: an unknown activation or dtype, a width below 1, a dropout outside [0, 1).

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.mlp import mlp
    >>> model = mlp(hidden=(8,), out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> model.apply(params, state, jnp.zeros((2, 4)), key=None, train=False)[0].shape
    (2, 3)

  Source: Alemi et al. 2017 (arXiv:1612.00410), section 4.1; layers by flax.linen.Dense.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  for width in (*hidden, out):
    checks.at_least("a layer's width", width, 1)
  if dropout is not None:
    checks.between("dropout", dropout, 0.0, 1.0, open_high=True)
  module = _Mlp(tuple(hidden), out, activation, activate_out, dropout, jnp.dtype(dtype))

  def init(key, x):
    return module.init(key, x, None)["params"], {}

  def apply(params, state, x, *, key, train):
    return module.apply({"params": params}, x, key if train else None), state

  return Model(init, apply)


CASES = (
  Case(
    name="identity weights",
    hyper=dict(hidden=(2,), out=2),
    inputs=lambda: dict(
      params={f"dense_{i}": {"kernel": jnp.eye(2), "bias": jnp.array([0.5, -3.0])} for i in (0, 1)},
      x=jnp.array([[1.0, 2.0]]),
    ),
    expected=dict(out=[[2.0, -3.0]]),
    source="by hand: relu([1.5, -1]) + [0.5, -3]",
  ),
)
