"""One network for each feature or group of features: the encoder of the distributed bottleneck.

Source: Murphy and Bassett 2022, "The distributed information bottleneck reveals the explanatory
structure of complex systems" (arXiv:2204.07576).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model
from ibjax.models.blocks import apply_blocks, block_width, init_blocks, join_blocks
from ibjax.models.mlp import ACTIVATIONS

Array = jax.Array


def per_feature_mlp(
  groups: tuple[int, ...] = (),
  hidden: tuple[int, ...] = (64,),
  out: int = 10,
  parts: int = 2,
  activation: str = "relu",
  dtype: str = "float32",
) -> Model:
  """Divides the input into groups of neighbouring values and encodes each one by itself.

  Formula: x = (x_1, ..., x_G); h_g = MLP_g(x_g), and no value of h_g depends on another group.
  Each h_g is cut into `parts` pieces of equal width; the output has the first pieces of all
  groups, then the second ones: so the Gaussian bottleneck's means and scales (parts = 2) are each
  laid out group after group, and dimensions g K/G to (g+1) K/G of its code belong to group g.

  Inputs are flattened. The networks have the same hidden widths and are computed together.

  Args:
    groups: sizes of the groups, in the order of the input; () makes every value a group.
    hidden: widths of the hidden layers of each network.
    out: width of the output of all groups together, a multiple of groups times parts.
    parts: 2 for bottlenecks that take means and scales, 1 for those that take one array.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`.

  Raises:
    InputError: an unknown activation or dtype, a width or part below 1, groups that do not add up
      to the input, or an output that cannot be divided among them.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.per_feature_mlp import per_feature_mlp
    >>> model = per_feature_mlp(groups=(1, 3), hidden=(8,), out=8)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> model.apply(params, state, jnp.zeros((2, 4)), key=None, train=False)[0].shape
    (2, 8)

  Source: Murphy and Bassett 2022 (arXiv:2204.07576), where each component of the input has its own
  encoder; without their positional encoding of scalar inputs.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  checks.at_least("parts", parts, 1)
  for width in (*groups, *hidden, out):
    checks.at_least("a width", width, 1)

  def sizes(x):
    width = x.reshape(x.shape[0], -1).shape[1]
    found = groups or (1,) * width
    if sum(found) != width:
      raise InputError(
        f"per_feature_mlp: groups={tuple(found)} cover {sum(found)} values, and an input has "
        f"{width}. Give sizes that add up to {width}."
      )
    return found, block_width(out, len(found), parts)

  def init(key, x):
    inputs, width = sizes(x)
    return init_blocks(key, inputs, (*hidden, width)), {}

  def apply(params, state, x, *, key, train):
    del key, train
    inputs, _ = sizes(x)
    x = x.reshape(x.shape[0], -1).astype(dtype)
    blocks, start = [], 0
    for size in inputs:
      blocks.append(jnp.pad(x[:, start : start + size], ((0, 0), (0, max(inputs) - size))))
      start += size
    return join_blocks(apply_blocks(params, jnp.stack(blocks, axis=1), activation), parts), state

  return Model(init, apply)


CASES = (
  Case(
    name="means of both groups, then scales",
    hyper=dict(groups=(1, 2), hidden=(), out=4),
    inputs=lambda: dict(
      params={
        "dense_0": {
          # Group 0 reads x_0 (its second row is padding), group 1 reads x_1 and x_2.
          "kernel": jnp.array([[[1.0, 2.0], [7.0, 7.0]], [[1.0, 0.0], [0.0, 1.0]]]),
          "bias": jnp.array([[0.0, 0.5], [0.0, 0.0]]),
        }
      },
      x=jnp.array([[1.0, 10.0, 20.0]]),
    ),
    expected=dict(out=[[1.0, 10.0, 2.5, 20.0]]),
    source="by hand: (x_0, x_1), then (2 x_0 + 0.5, x_2)",
  ),
)
