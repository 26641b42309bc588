"""A small convolutional network with noise before every layer, in training and in evaluation.

Source: Butakov et al. 2024, "Information bottleneck analysis of deep neural networks via lossy
compression" (arXiv:2305.08013), the MNIST network.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Case, Model, Scalar

Array = jax.Array
KERNEL, POOL = (3, 3), (2, 2)


class _NoisyConv(nn.Module):
  channels: tuple[int, ...]
  out: int
  noise: Scalar
  dropout: Scalar | None
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array, key: Array | None, train: bool) -> Array:
    x = x.reshape(*x.shape[:3], -1).astype(self.dtype)
    for index, width in enumerate(self.channels):
      x = self._drop(self._noisy(x, key, index), key, index, train)
      conv = nn.Conv(
        width,
        KERNEL,
        padding="VALID",
        dtype=self.dtype,
        param_dtype=jnp.float32,
        name=f"conv_{index}",
      )
      x = jax.nn.leaky_relu(nn.max_pool(conv(x), POOL, POOL))
    x = self._noisy(x.reshape(x.shape[0], -1), key, len(self.channels))
    dense = nn.Dense(self.out, dtype=self.dtype, param_dtype=jnp.float32, name="dense_0")
    return self._noisy(jax.nn.leaky_relu(dense(x)), key, len(self.channels) + 1)

  def _noisy(self, x: Array, key: Array | None, index: int) -> Array:
    if key is None:
      return x
    noise = rng.normal(rng.stream(key, "noise", index), x.shape).astype(x.dtype)
    return x * (1.0 + jnp.asarray(self.noise, x.dtype) * noise)

  def _drop(self, x: Array, key: Array | None, index: int, train: bool) -> Array:
    if key is None or not train or self.dropout is None:
      return x
    keep = 1.0 - jnp.asarray(self.dropout, jnp.float32)
    kept = rng.uniform(rng.stream(key, "dropout", index), x.shape) < keep
    return jnp.where(kept, x / keep.astype(x.dtype), 0.0).astype(x.dtype)


def noisy_conv(
  channels: tuple[int, ...] = (8, 16, 32),
  out: int = 32,
  noise: Scalar = 1e-3,
  dropout: Scalar | None = None,
  dtype: str = "float32",
) -> Model:
  """Convolutions of 3 by 3, each with pooling by 2 and LeakyReLU, then a dense layer.

  Formula: h <- LeakyReLU(pool(conv(h~))), last h <- LeakyReLU(W h~ + b), out = h~, where
  h~ = h (1 + noise e), e ~ N(0, I), is what enters each layer. The noise makes I(X;T) of a
  continuous layer finite; a unit that is zero gets none.

  Args:
    channels: of the convolutions; each shortens height and width to (size - 2) / 2, rounded down.
    out: width of the output.
    noise: standard deviation of the noise over the unit's value, >= 0.
    dropout: probability of dropping an input of a convolution, in training; None is off.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, h, w, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`; without a key there is no
    noise.

  Raises:
    InputError: no or an empty convolution, a negative noise, a dropout outside [0, 1), an image
      too small, an unknown dtype.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.noisy_conv import noisy_conv
    >>> model, x = noisy_conv(channels=(2,), out=7), jnp.zeros((2, 6, 6, 1))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> model.apply(params, state, x, key=None, train=False)[0].shape
    (2, 7)

  Source: Butakov et al. 2024 (arXiv:2305.08013), the MNIST network and its noise.
  """
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  checks.at_least("the number of convolutions", len(channels), 1)
  for width in (*channels, out):
    checks.at_least("a layer's width", width, 1)
  checks.at_least("noise", noise, 0.0)
  if dropout is not None:
    checks.between("dropout", dropout, 0.0, 1.0, open_high=True)
  module = _NoisyConv(tuple(channels), out, noise, dropout, jnp.dtype(dtype))

  def init(key, x):
    checks.at_least("height and width left after the convolutions", _left(x.shape, channels), 1)
    return module.init(key, x, None, False)["params"], {}

  def apply(params, state, x, *, key, train):
    return module.apply({"params": params}, x, key, train), state

  return Model(init, apply)


def _left(shape: tuple[int, ...], channels: tuple[int, ...]) -> int:
  size = min(shape[1:3])
  for _ in channels:
    size = (size - KERNEL[0] + 1) // POOL[0]
  return size


CASES = (
  Case(
    name="one convolution by a kernel of ones in the middle",
    hyper=dict(channels=(1,), out=1),
    inputs=lambda: dict(
      params={
        "conv_0": {
          "kernel": jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0),
          "bias": jnp.array([-10.0]),
        },
        "dense_0": {"kernel": jnp.ones((1, 1)), "bias": jnp.array([0.5])},
      },
      x=jnp.arange(16.0).reshape(1, 4, 4, 1),
    ),
    expected=dict(out=[[0.5]]),
    source="by hand: the largest of 5, 6, 9, 10 less 10 is 0, and leaky_relu(0 + 0.5)",
  ),
)
