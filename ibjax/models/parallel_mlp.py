"""Several networks that read the same input: main and auxiliary encoders, or a pair of twins.

Source: Yang et al. 2025, "Structured IB" (AAAI), whose main and auxiliary encoders they are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Case, Model
from ibjax.models.blocks import apply_blocks, block_width, init_blocks, join_blocks
from ibjax.models.mlp import ACTIVATIONS

Array = jax.Array


def parallel_mlp(
  branches: int = 2,
  hidden: tuple[int, ...] = (256, 64),
  out: int = 12,
  parts: int = 2,
  activation: str = "relu",
  dtype: str = "float32",
) -> Model:
  """Runs several networks with parameters of their own on the same input.

  Formula: h_b = MLP_b(x), b = 1..branches; the output has the first of `parts` pieces of every
  h_b, then the second ones, as `ibjax.models.per_feature_mlp` lays them out. Each parameter is
  one array with the branches as its first axis.

  Args:
    branches: number of networks.
    hidden: widths of the hidden layers of each.
    out: width of the output of all together, a multiple of branches times parts.
    parts: 2 for bottlenecks that take means and scales, 1 for those that take one array.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`.

  Raises:
    InputError: an unknown activation or dtype, a number below 1, or an output that cannot be
      divided among the branches.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.parallel_mlp import parallel_mlp
    >>> model = parallel_mlp(branches=3, hidden=(8,), out=12)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> model.apply(params, state, jnp.zeros((2, 4)), key=None, train=False)[0].shape
    (2, 12)

  Source: Yang et al. 2025 (AAAI), the encoders of its figure 1.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  checks.at_least("parts", parts, 1)
  for width in (branches, *hidden, out):
    checks.at_least("a width", width, 1)
  widths = (*hidden, block_width(out, branches, parts))

  def init(key, x):
    inputs = x.reshape(x.shape[0], -1).shape[1]
    return init_blocks(key, (inputs,) * branches, widths), {}

  def apply(params, state, x, *, key, train):
    del key, train
    x = x.reshape(x.shape[0], -1).astype(dtype)
    return join_blocks(apply_blocks(params, x, activation), parts), state

  return Model(init, apply)


CASES = (
  Case(
    name="two branches read one input; means, then scales",
    hyper=dict(branches=2, hidden=(), out=4),
    inputs=lambda: dict(
      params={
        "dense_0": {
          "kernel": jnp.array([[[1.0, 2.0]], [[3.0, 4.0]]]),
          "bias": jnp.array([[0.0, 0.5], [0.0, 0.0]]),
        }
      },
      x=jnp.array([[10.0]]),
    ),
    expected=dict(out=[[10.0, 30.0, 20.5, 40.0]]),
    source="by hand: (x, 3 x), then (2 x + 0.5, 4 x)",
  ),
)
