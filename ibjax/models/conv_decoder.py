"""A small convolutional decoder of a grid of vectors into images.

Source: van den Oord et al. 2017, "Neural discrete representation learning" (arXiv:1711.00937),
section 4.1, with fewer channels.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model
from ibjax.models.conv_encoder import Residual
from ibjax.models.convolution import Convolution

Array = jax.Array


class _Decoder(nn.Module):
  grid: tuple[int, int]
  channels: tuple[int, ...]
  residual: int
  out: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, z: Array) -> Array:
    h = z.reshape(z.shape[0], *self.grid, -1).astype(self.dtype)
    h = Convolution(self.channels[0], (3, 3), 1, self.dtype, name="from_code")(h)
    for index in range(self.residual):
      h = Residual(self.dtype, name=f"residual_{index}")(h)
    last = self.out // (math.prod(self.grid) * 4 ** len(self.channels))
    for index, width in enumerate((*self.channels[1:], last)):
      h = Convolution(4 * width, (3, 3), 1, self.dtype, name=f"up_{index}")(jax.nn.relu(h))
      n, height, across, _ = h.shape
      h = h.reshape(n, height, across, 2, 2, width).swapaxes(2, 3)
      h = h.reshape(n, 2 * height, 2 * across, width)
    return h.reshape(h.shape[0], self.out)


def conv_decoder(
  grid: tuple[int, int] = (7, 7),
  channels: tuple[int, ...] = (32, 16),
  residual: int = 1,
  out: int = 784,
  dtype: str = "float32",
) -> Model:
  """Takes a vector at every place of a grid to an image, doubled once for each width.

  Formula: a 3 by 3 convolution to channels[0], residual blocks as in `conv_encoder`, and for each
  width a 3 by 3 convolution of ReLU(h) to 4 times as many channels, which become 2 by 2 places; the
  last to the image's channels. That is a transposed convolution of stride 2 and kernel 6 by 6.

  Args:
    grid: height and width of the code's grid, position-major.
    channels: as many as there are doublings; two of them take 7 by 7 to 28 by 28.
    residual: blocks before them.
    out: width of the output, the image's height * width * channels.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, z [n, places * d]) -> (params, state)` and
    `apply(params, state, z, *, key, train) -> (out [n, out], state)`, row by row.

  Raises:
    InputError: an empty layer or none, a code or an image that the grid does not divide, an
      unknown dtype.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.conv_decoder import conv_decoder
    >>> model, z = conv_decoder(grid=(2, 2), channels=(3,), out=16), jnp.zeros((5, 8))
    >>> params, state = model.init(jax.random.key(0), z)
    >>> model.apply(params, state, z, key=None, train=False)[0].shape
    (5, 16)

  Source: van den Oord et al. 2017 (arXiv:1711.00937), section 4.1; the doubling of Shi et al. 2016
  (arXiv:1609.05158), section 2.2.
  """
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  checks.at_least("the number of convolutions", len(channels), 1)
  for width in (*grid, *channels, out):
    checks.at_least("a layer's width", width, 1)
  checks.at_least("residual", residual, 0)
  places = math.prod(grid)
  module = _Decoder((grid[0], grid[1]), tuple(channels), residual, out, jnp.dtype(dtype))

  def init(key, z):
    pixels = places * 4 ** len(channels)
    if z.shape[-1] % places or out % pixels:
      raise InputError(
        f"conv_decoder has a grid of {list(grid)}, {places} places, and doubles it "
        f"{len(channels)} times to {pixels} pixels; its code has width {z.shape[-1]} and its "
        f"image {out} values. Both must be multiples: change grid or channels of config.decoder."
      )
    return module.init(key, z)["params"], {}

  def apply(params, state, z, *, key, train):
    return module.apply({"params": params}, z), state

  return Model(init, apply)


CASES = (
  Case(
    name="one place becomes four, each with its own kernel, row by row",
    hyper=dict(grid=(1, 1), channels=(1,), residual=0, out=4),
    inputs=lambda: dict(
      params={
        "from_code": {
          "kernel": jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0),
          "bias": jnp.zeros(1),
        },
        "up_0": {
          "kernel": jnp.zeros((3, 3, 1, 4)).at[1, 1, 0].set(jnp.arange(1.0, 5.0)),
          "bias": jnp.full(4, 0.5),
        },
      },
      x=jnp.array([[3.0]]),
    ),
    expected=dict(out=[[3.5, 6.5, 9.5, 12.5]]),
    source="by hand: 3 times 1, 2, 3, 4, plus 0.5",
  ),
)
