"""How a classifier's error grows when its images are corrupted: noise, blur, light, position.

Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations" (arXiv:1903.12261).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.target_errors import error_rate

# Corruption -> its size at severities 1 to 5.
SIZES: dict[str, tuple[float, ...]] = {
  "noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, of the range of values
  "blur": (0.02, 0.03, 0.04, 0.06, 0.08),  # standard deviation, of the image's width
  "contrast": (0.6, 0.45, 0.3, 0.2, 0.1),  # factor of what differs from the image's mean
  "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added, of the range of values
  "shift": (0.04, 0.08, 0.12, 0.16, 0.2),  # along each axis, of the image's width
  "rotation": (10.0, 20.0, 30.0, 40.0, 50.0),  # degrees
}


def corrupt(x: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
  """Corrupts images.

  Formula: "noise" x + s e; "blur" x convolved with a Gaussian; "contrast" m + s (x - m), m the mean
  of the image; "brightness" x + s; "shift" and "rotation" by s to a random side, linearly
  interpolated, what comes in being black. The result is clipped to [0, 1]. The sizes s are in
  `SIZES`.

  Args:
    x: [n, h, w, c] in [0, 1].
    name: of `SIZES`.
    severity: 1 to 5.
    seed: of the noise and of the sides.

  Returns:
    Same shape, float32, in [0, 1].

  Raises:
    InputError: inputs that are not images, an unknown corruption or severity.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.corruptions import corrupt
    >>> round(float(corrupt(np.zeros((1, 2, 2, 1)), "brightness", 3)[0, 0, 0, 0]), 6)
    0.3

  Source: Hendrycks and Dietterich 2019 (arXiv:1903.12261), section 4.1; noise and contrast have
  about its sizes for ImageNet, the others are chosen for small grey images.
  """
  checks.one_of("corruption", name, tuple(SIZES))
  checks.between("severity", severity, 1, 5)
  x = np.asarray(x, np.float32)
  checks.shape("x", x, ("n", "h", "w", "c"))
  size, width = SIZES[name][severity - 1], x.shape[2]
  rng = np.random.default_rng([seed, list(SIZES).index(name), severity])
  sides = rng.choice([-1.0, 1.0], (len(x), 2))
  if name == "noise":
    moved = x + size * rng.normal(size=x.shape)
  elif name == "blur":
    moved = ndimage.gaussian_filter(x, (0.0, size * width, size * width, 0.0))
  elif name == "contrast":
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    moved = mean + size * (x - mean)
  elif name == "brightness":
    moved = x + size
  elif name == "shift":
    moved = np.stack(
      [
        ndimage.shift(image, (*(size * width * side), 0.0), order=1)
        for image, side in zip(x, sides)
      ]
    )
  else:
    moved = np.stack(
      [
        ndimage.rotate(image, size * side, axes=(0, 1), reshape=False, order=1)
        for image, (side, _) in zip(x, sides)
      ]
    )
  return np.clip(moved, 0.0, 1.0).astype(np.float32)


def corruptions(
  names: tuple[str, ...] = tuple(SIZES),
  severities: tuple[int, ...] = (1, 2, 3, 4, 5),
  examples: int = 2000,
  split: str = "test",
) -> Callable[[Trained], dict[str, float]]:
  """Measures a classifier's error on corrupted images.

  Formula: the error on images corrupted by `corrupt`, averaged over severities for each corruption,
  and over the corruptions for the mean; not divided by another model's error.

  Use it when a model should hold under changes that nobody made on purpose.

  Args:
    names: which corruptions, of `SIZES`.
    severities: of 1 to 5.
    examples: as many images, the first ones; 0 is all.
    split: the split they are of.

  Returns:
    `assess(trained)` -> {"clean_err_frac", "<corruption>_err_frac", "mean_err_frac"}, all of the
    same images.

  Raises:
    InputError: an unknown corruption or severity, no labels, inputs that are not images of uint8.

  Example:
    >>> from ibjax.evaluators.corruptions import corruptions
    >>> assess = corruptions(names=("noise", "blur"), severities=(3,))

  Source: Hendrycks and Dietterich 2019 (arXiv:1903.12261), section 4.2, without its division by
  the errors of AlexNet.
  """
  for name in names:
    checks.one_of("corruption", name, tuple(SIZES))
  for severity in severities:
    checks.between("severity", severity, 1, 5)
  checks.at_least("examples", examples, 0)
  if not names or not severities:
    raise InputError(f"corruptions: names={names} and severities={severities} name nothing.")

  def assess(trained: Trained) -> dict[str, float]:
    if not trained.num_classes or trained.value_range is None:
      raise InputError(
        "corruptions needs images stored as uint8, and labels; this run has "
        + ("inputs stored as floats" if trained.num_classes else "real-valued targets")
        + ". Remove it from config.assess."
      )
    data = trained.data("", split)
    x, y = (np.asarray(data[name])[: examples or None] for name in ("x", "y"))
    low, high = trained.value_range
    unit = (x - low) / (high - low)

    def error(images: np.ndarray) -> float:
      return error_rate(trained, trained.forward(images)["prediction"], y)

    found = {"clean_err_frac": error(x)}
    for name in names:
      errors = [
        error(low + (high - low) * corrupt(unit, name, severity, trained.seed))
        for severity in severities
      ]
      found[f"{name}_err_frac"] = float(np.mean(errors))
    found["mean_err_frac"] = float(np.mean([found[f"{name}_err_frac"] for name in names]))
    return found

  return assess
