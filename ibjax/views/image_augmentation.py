"""Views of small images: moved, scaled, stretched, mirrored, erased, dimmed, noisy.

Nothing is turned: a turned 6 is a 9. What moves an image is the same for all its rows and columns,
so resampling is two small matrix products an image, without a gather.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Scalar

Array = jax.Array


def image_augmentation(
  shift: Scalar = 0.1,
  zoom: Scalar = 0.2,
  stretch: Scalar = 0.1,
  flip: Scalar = 0.0,
  erase: Scalar = 0.0,
  contrast: Scalar = 0.2,
  brightness: Scalar = 0.1,
  noise: Scalar = 0.05,
  low: Scalar = -1.0,
  high: Scalar = 1.0,
) -> Callable[[Array, Array], Array]:
  """Resamples each image at a random place and size, erases a part, and changes its intensities.

  Formula: with u uniform in (-1, 1), anew for each image and use: the pixel at p of an axis of
  length L is read, linearly between pixels and `low` outside, at
  c + (p - c) exp(zoom u +- stretch u') + shift L u'', c the centre (p - c mirrored in width with
  probability `flip`); then a rectangle of sides up to erase L is set to `low`; then
  m + (1 + contrast u)(x - m) + brightness u (high - low), m the image's mean; then noise of
  standard deviation noise (high - low); then what lies outside [low, high] is put on its edge.
  A strength of 0 leaves its step out; all of them 0 change nothing.

  Args:
    shift: largest move, as a part of the side, >= 0; may be traced, like all.
    zoom: largest logarithm of the scale of both sides, >= 0; a positive one crops.
    stretch: largest logarithm of the scale of one side against the other, >= 0.
    flip: probability of mirroring left and right, in [0, 1].
    erase: largest side of the erased rectangle, as a part of the image's, in [0, 1].
    contrast: largest relative change of contrast, in [0, 1].
    brightness: largest change of brightness, as a part of the range, >= 0.
    noise: standard deviation of the noise, as a part of the range, >= 0.
    low: least value of an input, and the background; the config's `data.value_range`.
    high: largest value of an input, above `low`.

  Returns:
    `augment(x, key) -> x`, of images [n, h, w] or [n, h, w, channels], floats.

  Raises:
    InputError: a strength out of range, or inputs that are no images.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.views.image_augmentation import image_augmentation
    >>> image_augmentation()(jnp.zeros((2, 8, 8, 1)), jax.random.key(0)).shape
    (2, 8, 8, 1)

  Source: the random crop, flip and intensities of Chen et al. 2020 (arXiv:2002.05709), appendix
  A, without hue and blur; random erasing of Zhong et al. 2017 (arXiv:1708.04896).
  """
  for name, value in (("shift", shift), ("zoom", zoom), ("stretch", stretch)):
    checks.at_least(name, value, 0.0)
  for name, value in (("flip", flip), ("erase", erase), ("contrast", contrast)):
    checks.between(name, value, 0.0, 1.0)
  checks.at_least("brightness", brightness, 0.0)
  checks.at_least("noise", noise, 0.0)
  if checks.is_concrete(low):
    checks.at_least("high", high, float(low), strict=True)
  extent = high - low

  def augment(x, key):
    if x.ndim not in (3, 4):
      raise InputError(
        f"image_augmentation takes images [n, h, w] or [n, h, w, channels]; one input has shape "
        f"{list(x.shape[1:])}. Use 'ibjax.views.gaussian_noise:gaussian_noise' for vectors."
      )
    n, height, width = x.shape[:3]
    images = x.reshape(n, height, width, -1)

    def draw(name, count=1):
      return 2.0 * rng.uniform(rng.stream(key, name), (count, n)) - 1.0

    size, ratio = zoom * draw("zoom")[0], stretch * draw("stretch")[0]
    down, across = shift * draw("shift", 2)
    side = jnp.where(0.5 + 0.5 * draw("flip")[0] < flip, -1.0, 1.0)
    rows = _resampling(height, jnp.exp(size + ratio), down)
    columns = _resampling(width, side * jnp.exp(size - ratio), across)
    images = low + jnp.einsum("nik,nklc,njl->nijc", rows, images - low, columns)
    middle, part = draw("erase", 2), 0.5 + 0.5 * draw("erased", 2)
    hidden = _within(height, middle[0], erase * part[0])[:, :, None]
    hidden &= _within(width, middle[1], erase * part[1])[:, None, :]
    images = jnp.where(hidden[..., None], low, images)
    mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
    gain, change = contrast * draw("contrast")[0], brightness * extent * draw("brightness")[0]
    images = images + gain[:, None, None, None] * (images - mean) + change[:, None, None, None]
    images = images + noise * extent * rng.normal(rng.stream(key, "noise"), images.shape)
    return jnp.clip(images, low, high).reshape(x.shape)

  return augment


def _resampling(length: int, scale: Array, shift: Array) -> Array:
  """[n, length, length] weights of linear interpolation: row p reads near its place."""
  centre = 0.5 * (length - 1)
  pixel = jnp.arange(length, dtype=jnp.float32)
  place = centre + scale[:, None] * (pixel - centre) + length * shift[:, None]
  return jax.nn.relu(1.0 - jnp.abs(place[:, :, None] - pixel))


def _within(length: int, middle: Array, part: Array) -> Array:
  """[n, length]: whether a pixel lies in the interval about a middle in (-1, 1), of that part."""
  place = (2.0 * jnp.arange(length) + 1.0) / length - 1.0
  return jnp.abs(place - middle[:, None]) < part[:, None]


_OFF = dict(shift=0.0, zoom=0.0, stretch=0.0, contrast=0.0, brightness=0.0, noise=0.0)
_IMAGE = [[[-1.0, 0.5, 1.0], [0.25, 0.0, -0.5]]]

CASES = (
  Case(
    name="all strengths zero: unchanged",
    hyper=_OFF,
    inputs=lambda: dict(x=jnp.array(_IMAGE)),
    expected=dict(x=_IMAGE),
    source="limit",
  ),
  Case(
    name="always mirrored",
    hyper={**_OFF, "flip": 1.0},
    inputs=lambda: dict(x=jnp.array(_IMAGE)),
    expected=dict(x=[[[1.0, 0.5, -1.0], [-0.5, 0.0, 0.25]]]),
    source="by hand",
  ),
)
