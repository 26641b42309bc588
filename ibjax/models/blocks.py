"""Several small networks of one shape side by side, as one batched product a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import InputError
from ibjax.models.mlp import ACTIVATIONS

Array = jax.Array
Layers = Mapping[str, Mapping[str, Array]]


def init_blocks(key: Array, inputs: Sequence[int], widths: Sequence[int]) -> dict[str, Any]:
  """Returns the parameters of one network a block.

  Formula: kernels ~ N(0, 1 / inputs) truncated (LeCun), biases 0, each block by its own inputs.

  Args:
    key: a typed key.
    inputs: how many values each block reads; blocks that read fewer than the widest ignore the
      padding behind theirs.
    widths: of the layers, the same for all blocks.

  Returns:
    {"dense_0": {"kernel": [blocks, in, out], "bias": [blocks, out]}, ...}.
  """
  layers, sizes = {}, list(inputs)
  normal = jax.nn.initializers.lecun_normal()
  for index, width in enumerate(widths):
    widest = max(sizes)
    kernels = [
      jnp.pad(
        normal(rng.stream(key, "block", index, b), (size, width)), ((0, widest - size), (0, 0))
      )
      for b, size in enumerate(sizes)
    ]
    layers[f"dense_{index}"] = {
      "kernel": jnp.stack(kernels),
      "bias": jnp.zeros((len(sizes), width)),
    }
    sizes = [width] * len(sizes)
  return layers


def apply_blocks(params: Layers, h: Array, activation: str) -> Array:
  """Runs every block on its input, with an activation between the layers.

  Args:
    params: as `init_blocks` gives them.
    h: [n, blocks, in], or [n, in] which all blocks read; its type is the compute type.
    activation: a name of `ibjax.models.mlp.ACTIVATIONS`.

  Returns:
    [n, blocks, out].
  """
  for index in range(len(params)):
    if index:
      h = ACTIVATIONS[activation](h)
    layer = params[f"dense_{index}"]
    product = "ni,bio->nbo" if h.ndim == 2 else "nbi,bio->nbo"
    h = jnp.einsum(product, h, layer["kernel"].astype(h.dtype)) + layer["bias"].astype(h.dtype)
  return h


def join_blocks(out: Array, parts: int) -> Array:
  """Lays the blocks' outputs side by side, part by part: all means first, then all scales.

  Args:
    out: [n, blocks, parts * width].
    parts: how many arrays each block gives.

  Returns:
    [n, parts * blocks * width]: the first part of all blocks, then the second, ...
  """
  n, blocks, _ = out.shape
  split = out.reshape(n, blocks, parts, -1)
  return jnp.swapaxes(split, 1, 2).reshape(n, -1)


def block_width(out: int, blocks: int, parts: int) -> int:
  """Returns how many outputs one block gives.

  Args:
    out: the width of all outputs together.
    blocks: the number of blocks.
    parts: how many arrays each block gives.

  Returns:
    out / blocks.

  Raises:
    InputError: the outputs cannot be divided among blocks and parts.

  Example:
    >>> from ibjax.models.blocks import block_width
    >>> block_width(12, 3, 2)
    4
  """
  if out % (blocks * parts):
    raise InputError(
      f"an output of {out} cannot be divided among {blocks} blocks of {parts} parts each. Choose "
      f"config.bottleneck.dim so that the bottleneck takes a multiple of {blocks * parts} features."
    )
  return out // blocks
