"""MNIST digits turned by an angle to regress on, 5000 + 1000 + 5000 images; from the MNIST here."""

from __future__ import annotations

import pathlib

import numpy as np
from scipy import ndimage

from ibjax.data import fingerprint, options, tables
from ibjax.data.source import Source, from_arrays
from ibjax.data.sources import mnist

DEFAULTS: dict[str, float] = dict(n=5000, n_validation=1000, n_test=5000, angle=45.0, seed=0)
_RANGES = dict(
  n=(2, 50_000), n_validation=(1, 10_000), n_test=(1, 10_000), angle=(1.0, 180.0), seed=(0, np.inf)
)
_FIRST_HELD = 50_000  # the training images from which validation digits are drawn


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Turns MNIST digits about the middle of the image by angles drawn evenly.

  Pixels between the turned ones are linear in their neighbours, those from outside are black. The
  angle is what is predicted, in degrees against the clock, scaled to mean 0 and deviation 1 of
  the training split. No image is in two splits: training digits come from the first 50,000
  training images of MNIST, validation digits from the last 10,000, test digits from its test set.

  Args:
    argument: "" or "key=value,...": n, n_validation, n_test images; angle, the largest turn to
      either side in degrees; seed of the draw.
    data_dir: not used; MNIST comes with ibjax.

  Returns:
    A `Source` with uint8 images [28, 28, 1] and float32 targets [n, 1].

  Raises:
    ConfigError: an unknown key, or a value out of range.
    DataError: a file of MNIST is damaged.
  """
  values = options.parse("rotated_mnist", argument, DEFAULTS)
  options.check_range("rotated_mnist", values, _RANGES)
  source = mnist.load("", data_dir)
  counts = dict(train=values["n"], validation=values["n_validation"], test=values["n_test"])
  images, angles = {}, {}
  for number, (split, count) in enumerate(counts.items()):
    # A stream for each split, so that the size of one never changes another.
    rng = np.random.default_rng([int(values["seed"]), number])
    digits = source.splits["test" if split == "test" else "train"]
    low, high = {
      "train": (0, _FIRST_HELD),
      "validation": (_FIRST_HELD, digits.n),
      "test": (0, digits.n),
    }[split]
    rows = low + rng.choice(high - low, int(count), replace=False)
    angles[split] = rng.uniform(-values["angle"], values["angle"], (int(count), 1))
    images[split] = np.stack(
      [
        ndimage.rotate(image, angle, axes=(1, 0), reshape=False, order=1)
        for image, angle in zip(digits.read(rows)["x"], angles[split][:, 0])
      ]
    )
  # The angle beside itself, as its input: only the targets are wanted.
  scaled, mean, scale = tables.standardised({split: (a, a) for split, a in angles.items()})
  return from_arrays(
    f"rotated_mnist:{argument}" if argument else "rotated_mnist",
    {split: (images[split], scaled[split][1]) for split in images},
    # Of what is turned and how: interpolation rounds a few pixels another way elsewhere.
    fingerprint=fingerprint.combine(
      {"rotated_mnist": "1", "mnist": source.fingerprint}
      | {key: repr(value) for key, value in values.items()}
    ),
    target_mean=tuple(mean.tolist()),
    target_scale=tuple(scale.tolist()),
    target_unit="degrees",
  )
