"""Images whose parameters carry a known information: blobs and rectangles.

The parameters of x and of y are Gaussians that share the information, mapped to uniform values;
an image determines its parameters, so I(X;Y) of the images is that of the Gaussians.

Source: Butakov et al. 2024, "Information Bottleneck Analysis of Deep Neural Networks via Lossy
Compression" (ICLR), the synthetic tests.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from ibjax.core import checks
from ibjax.data.synthetic.normal import gaussian
from ibjax.data.synthetic.task import Arrays, Task, family

_SHARPNESS = 10.0
_LEAST_PIXELS = 2.0  # least side of a rectangle


def blob(u: np.ndarray, size: int) -> np.ndarray:
  """Draws round Gaussian blobs.

  Formula: exp(-10 [(s - u0)^2 + (t - u1)^2]) at the points (s, t) of a grid on the unit square.

  Args:
    u: [n, 2] in (0, 1): where the centres are.
    size: pixels of a side.

  Returns:
    [n, size, size], in (0, 1].
  """
  ticks = np.linspace(0.0, 1.0, size)
  across, down = (np.exp(-_SHARPNESS * (ticks - u[:, i, None]) ** 2) for i in range(2))
  return across[:, :, None] * down[:, None, :]


def elliptic_blob(u: np.ndarray, size: int) -> np.ndarray:
  """Draws elliptic Gaussian blobs.

  Formula: exp(-10 [p^2 + q^2 + (2 u4 - 1) p q]), p = (1 + u2)(s - u0), q = (1 + u3)(t - u1).

  Args:
    u: [n, 5] in (0, 1): centre, two scales, tilt.
    size: pixels of a side.

  Returns:
    [n, size, size], in (0, 1].
  """
  ticks = np.linspace(0.0, 1.0, size)
  p = ((1.0 + u[:, 2, None]) * (ticks - u[:, 0, None]))[:, :, None]
  q = ((1.0 + u[:, 3, None]) * (ticks - u[:, 1, None]))[:, None, :]
  tilt = (2.0 * u[:, 4] - 1.0)[:, None, None]
  return np.exp(-_SHARPNESS * (p**2 + q**2 + tilt * p * q))


def rectangle(u: np.ndarray, size: int) -> np.ndarray:
  """Draws rectangles; a pixel is the area of it that the rectangle covers.

  The ends of each side are uniform among the pairs that lie at least two pixels apart.

  Args:
    u: [n, 4] in (0, 1): both ends of the first axis, both ends of the second.
    size: pixels of a side of the image, more than 2.

  Returns:
    [n, size, size], in [0, 1].
  """
  least = _LEAST_PIXELS / size
  covered = []
  for first, second in ((u[:, 0], u[:, 1]), (u[:, 2], u[:, 3])):
    low = (1.0 - least) * (1.0 - np.sqrt(1.0 - first))
    high = low + least + second * (1.0 - least - low)
    pixels = np.arange(size)
    ends = np.minimum(high[:, None] * size, pixels + 1.0)
    covered.append(np.maximum(ends - np.maximum(low[:, None] * size, pixels), 0.0))
  return covered[0][:, :, None] * covered[1][:, None, :]


def _images(
  name: str, draw: Callable[[np.ndarray, int], np.ndarray], parameters: int, nats: float, size: int
) -> Task:
  checks.at_least("nats", nats, 0.0)
  checks.at_least("size", size, 3)
  latent = gaussian(d=parameters, rho=(0.0,), nats=nats)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    return tuple(draw(ndtr(side), size).reshape(n, -1) for side in latent.sample(rng, n))

  return Task(
    id=name,
    dx=size * size,
    dy=size * size,
    nats=latent.nats,
    sample=sample,
    source="Butakov et al. 2024, 'Information Bottleneck Analysis of Deep Neural Networks via "
    "Lossy Compression' (ICLR); pixels are an injective map of Gaussians of that information",
    x_shape=(size, size, 1),
  )


@family
def blob_images(nats: float = 2.0, size: int = 16) -> Task:
  """Pairs of images of a round Gaussian blob, whose centres carry the information.

  Args:
    nats: exact I(X;Y).
    size: pixels of a side.

  Returns:
    A `Task`; images are flattened, x [n, size * size].

  Raises:
    InputError: a value out of range.
  """
  return _images("blob_images", blob, 2, nats, size)


@family
def elliptic_blob_images(nats: float = 2.0, size: int = 32) -> Task:
  """Pairs of images of an elliptic Gaussian blob of five parameters.

  Args:
    nats: exact I(X;Y).
    size: pixels of a side.

  Returns:
    A `Task`; images are flattened, x [n, size * size].

  Raises:
    InputError: a value out of range.
  """
  return _images("elliptic_blob_images", elliptic_blob, 5, nats, size)


@family
def rectangle_images(nats: float = 2.0, size: int = 32) -> Task:
  """Pairs of images of a rectangle, whose four sides carry the information.

  Args:
    nats: exact I(X;Y).
    size: pixels of a side.

  Returns:
    A `Task`; images are flattened, x [n, size * size].

  Raises:
    InputError: a value out of range.
  """
  return _images("rectangle_images", rectangle, 4, nats, size)


FAMILIES = (blob_images, elliptic_blob_images, rectangle_images)
