"""A small convolutional encoder of images into a grid of vectors.

Source: van den Oord et al. 2017, "Neural discrete representation learning" (arXiv:1711.00937),
section 4.1, with fewer channels.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model
from ibjax.models.convolution import Convolution

Array = jax.Array


class Residual(nn.Module):
  """ReLU, 3 by 3, ReLU, 1 by 1, added to what came in."""

  dtype: jnp.dtype

  @nn.compact
  def __call__(self, h: Array) -> Array:
    width = h.shape[-1]
    inner = Convolution(max(width // 2, 1), (3, 3), 1, self.dtype, name="conv_0")(jax.nn.relu(h))
    return h + Convolution(width, (1, 1), 1, self.dtype, name="conv_1")(jax.nn.relu(inner))


class _Encoder(nn.Module):
  channels: tuple[int, ...]
  residual: int
  out: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    h = x.reshape(*x.shape[:3], -1).astype(self.dtype)
    for index, width in enumerate(self.channels):
      h = jax.nn.relu(Convolution(width, (4, 4), 2, self.dtype, name=f"conv_{index}")(h))
    for index in range(self.residual):
      h = Residual(self.dtype, name=f"residual_{index}")(h)
    n, height, width, _ = h.shape
    last = Convolution(self.out // (height * width), (1, 1), 1, self.dtype, name="to_code")
    return last(h).reshape(n, self.out)


def conv_encoder(
  channels: tuple[int, ...] = (16, 32), residual: int = 1, out: int = 64, dtype: str = "float32"
) -> Model:
  """Halves an image once for each width, and gives a vector at every place of what is left.

  Formula: for each width, h <- ReLU(4 by 4 convolution of stride 2); then residual blocks h <- h +
  1 by 1(ReLU(3 by 3(ReLU(h)))); then a 1 by 1 convolution to out / (height * width) channels,
  flattened row by row: position-major, as bottlenecks with `positions` read it.

  Args:
    channels: of the convolutions; two of them take 28 by 28 to 7 by 7.
    residual: blocks after them.
    out: width of the output, a multiple of the places left.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, h, w, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`.

  Raises:
    InputError: an empty layer, inputs that are no images, an output that is no multiple of the
      places, an unknown dtype.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.conv_encoder import conv_encoder
    >>> model, x = conv_encoder(channels=(2,), out=12), jnp.zeros((3, 4, 4, 1))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> model.apply(params, state, x, key=None, train=False)[0].shape  # 2 by 2 places of 3 channels
    (3, 12)

  Source: van den Oord et al. 2017 (arXiv:1711.00937), section 4.1.
  """
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  for width in (*channels, out):
    checks.at_least("a layer's width", width, 1)
  checks.at_least("residual", residual, 0)
  module = _Encoder(tuple(channels), residual, out, jnp.dtype(dtype))

  def init(key, x):
    if x.ndim < 3:
      raise InputError(
        f"conv_encoder reads images [n, height, width, ...], and its inputs are {list(x.shape)}. "
        "Use 'ibjax.models.mlp:mlp' for vectors."
      )
    places = 1
    for size in x.shape[1:3]:
      for _ in channels:
        size = -(-size // 2)
      places *= size
    if out % places:
      raise InputError(
        f"conv_encoder leaves {places} places of an image {list(x.shape[1:3])}, and an output of "
        f"width {out} does not divide over them. Set positions={places} and a dim (of "
        "config.bottleneck) that is a multiple of it."
      )
    return module.init(key, x)["params"], {}

  def apply(params, state, x, *, key, train):
    return module.apply({"params": params}, x), state

  return Model(init, apply)


CASES = (
  Case(
    name="a convolution that adds up all it sees",
    hyper=dict(channels=(1,), residual=0, out=1),
    inputs=lambda: dict(
      params={
        "conv_0": {"kernel": jnp.ones((4, 4, 1, 1)), "bias": jnp.array([-1.0])},
        "to_code": {"kernel": 2.0 * jnp.ones((1, 1, 1, 1)), "bias": jnp.array([0.5])},
      },
      x=jnp.arange(4.0).reshape(1, 2, 2, 1),
    ),
    expected=dict(out=[[10.5]]),
    source="by hand: 2 (0 + 1 + 2 + 3 - 1) + 0.5",
  ),
)
