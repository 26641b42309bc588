"""A convolution as a product of matrices, over the patches of an image.

XLA (CPU, jax 0.10) takes hundreds of times as long for the gradients of a convolution inside a
loop as outside; a product of matrices is as fast there as anywhere, and the trainer's steps are a
loop.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


class Convolution(nn.Module):
  """`flax.linen.Conv` with padding "SAME", by patches.

  Attributes:
    features: channels of the output.
    kernel: height and width of the kernel.
    stride: of both axes.
    dtype: compute type; parameters are float32.
  """

  features: int
  kernel: tuple[int, int]
  stride: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    n, height, width, channels = x.shape
    shape = (*self.kernel, channels, self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
    bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
    patches = self._patches(x.astype(self.dtype))
    out = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, self.features).astype(
      self.dtype
    )
    out = out + bias.astype(self.dtype)
    return out.reshape(n, *(-(-size // self.stride) for size in (height, width)), self.features)

  def _patches(self, x: Array) -> Array:
    """[n, h, w, kernel height * kernel width * channels]."""
    if self.kernel == (1, 1) and self.stride == 1:
      return x
    sizes = [-(-size // self.stride) for size in x.shape[1:3]]
    pads = []
    for size, out, reach in zip(x.shape[1:3], sizes, self.kernel):
      total = max((out - 1) * self.stride + reach - size, 0)
      pads.append((total // 2, total - total // 2))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))

    def shifted(i: int, j: int) -> Array:
      spans = (slice(k, k + self.stride * out, self.stride) for k, out in zip((i, j), sizes))
      down, across = spans
      return x[:, down, across]

    rows, columns = self.kernel
    parts = [shifted(i, j) for i in range(rows) for j in range(columns)]
    return jnp.concatenate(parts, axis=-1)
