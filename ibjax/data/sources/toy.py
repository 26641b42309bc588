"""Small problems with few training examples: toy:moons:n=100,seed=0; blobs, sine and cubic."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint, options
from ibjax.data.source import Source, from_arrays

SINE_WIDTH = 4.0  # of the interval of x
# A decoder's density has unit variance at first; at that, the noise of 1 is small beside the sine.
SINE_HEIGHT = 5.0

# Problem -> what an argument may set, with its default. Integers stay integers.
DEFAULTS: dict[str, dict[str, float]] = {
  "moons": dict(n=100, seed=0, noise=0.2, flip=0.1, n_test=4_000),
  "blobs": dict(n=50, seed=0, classes=5, std=0.7, box=10.0, centers=0, n_test=4_000),
  "sine": dict(n=60, seed=0, noise=1.0, gap=1.0, n_test=4_000),
  "cubic": dict(n=20, seed=0, noise=3.0, gap=0.0, width=8.0, n_test=4_000),
}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws a toy problem; the seed is part of the name, so that several draws can be compared.

  "moons" is two interleaved half circles of radius 1, centred at (0, 0) and (1, 1/2), with
  Gaussian noise of standard deviation `noise` on both coordinates, and labels that are swapped
  with probability `flip` (in both splits: no prediction has a test NLL below the entropy of a
  coin of that bias).

  "blobs" is `classes` Gaussian blobs in the plane, of standard deviation `std`, whose centres are
  uniform in a square of half width `box`; `centers` numbers the draw of the centres, so that every
  seed is another sample of one and the same distribution. Each class has as many examples as can
  be.

  "sine" is a regression: x uniform on [-2, 2], y = 5 sin(2 x) with Gaussian noise of standard
  deviation `noise` (no prediction has a test NLL below the entropy of that noise). The training
  inputs leave out the middle `gap` of the interval; the test inputs do not.

  "cubic" is the same with y = x^3 on an interval of the given `width` about 0: a problem to see
  what a model says of inputs between and beyond those of training. width=10,gap=4 takes x from
  [-5, -2] and [2, 5].

  The test split is the same for all seeds and all n.

  Args:
    argument: "PROBLEM" or "PROBLEM:key=value,...". All problems have n training examples, seed, and
      n_test test examples; "moons" has noise and flip, "blobs" classes, std, box and centers,
      "sine" noise and gap, "cubic" noise, gap and width.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source`: "moons" and "blobs" with float32 inputs [n, 2] and classes, "sine" and "cubic" with
    inputs [n, 1] and float32 targets [n, 1].

  Raises:
    ConfigError: an unknown problem or key, or a value out of range.
  """
  del data_dir
  problem, _, text = argument.partition(":")
  if problem not in DEFAULTS:
    hint = "Write e.g. toy:moons:n=100,seed=0."
    raise ConfigError(unknown("toy problem", problem, DEFAULTS, hint))
  values = _parse(problem, text)
  splits = {
    # Streams of their own, so that a training seed never draws the test split.
    "train": _DRAW[problem](np.random.default_rng([int(values["seed"]), 0]), values["n"], values),
    "test": _DRAW[problem](
      np.random.default_rng([0, 1]), values["n_test"], {**values, **_TEST[problem]}
    ),
  }
  name = f"toy:{argument}"
  classes = {"moons": 2, "blobs": int(values.get("classes", 0))}.get(problem)
  return from_arrays(name, splits, fingerprint=fingerprint.of_arrays(splits), num_classes=classes)


def _moons(rng: np.random.Generator, n: float, values: Mapping[str, float]):
  n = int(n)
  # As many of each class as can be: only the swaps make the labels random.
  y = rng.permutation(np.arange(n) % 2)
  angle = rng.uniform(0.0, np.pi, n)
  sign = 1 - 2 * y  # the second half circle is the first, turned by 180 degrees and moved
  x = np.stack([y + sign * np.cos(angle), 0.5 * y + sign * np.sin(angle)], axis=-1)
  x = x + values["noise"] * rng.normal(size=x.shape)
  swapped = rng.uniform(size=n) < values["flip"]
  return x.astype(np.float32), np.where(swapped, 1 - y, y).astype(np.int32)


def _blobs(rng: np.random.Generator, n: float, values: Mapping[str, float]):
  classes, box = int(values["classes"]), values["box"]
  # Of a stream of its own: the same for every seed, and for both splits.
  centers = np.random.default_rng([int(values["centers"]), 2]).uniform(-box, box, (classes, 2))
  y = rng.permutation(np.arange(int(n)) % classes)
  x = centers[y] + values["std"] * rng.normal(size=(int(n), 2))
  return x.astype(np.float32), y.astype(np.int32)


def _sine(rng: np.random.Generator, n: float, values: Mapping[str, float]):
  x = _sides(rng, int(n), SINE_WIDTH, values["gap"])
  return _noisy(rng, x, SINE_HEIGHT * np.sin(2.0 * x), values["noise"])


def _cubic(rng: np.random.Generator, n: float, values: Mapping[str, float]):
  x = _sides(rng, int(n), values["width"], values["gap"])
  return _noisy(rng, x, x**3, values["noise"])


def _sides(rng: np.random.Generator, n: int, width: float, gap: float) -> np.ndarray:
  """Inputs from the two sides of a gap in the middle of an interval, each as likely."""
  u = rng.uniform(-1.0, 1.0, n)
  half = gap / 2
  return np.sign(u) * (half + (width / 2 - half) * np.abs(u))


def _noisy(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, noise: float):
  y = y + noise * rng.normal(size=len(x))
  return x[:, None].astype(np.float32), y[:, None].astype(np.float32)


_DRAW: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
  "moons": _moons,
  "blobs": _blobs,
  "sine": _sine,
  "cubic": _cubic,
}
# What the test split does not share with the training split.
_TEST: dict[str, dict[str, float]] = {
  "moons": {},
  "blobs": {},
  "sine": {"gap": 0.0},
  "cubic": {"gap": 0.0},
}


def _parse(problem: str, text: str) -> dict[str, float]:
  where = f"toy:{problem}"
  values = options.parse(where, text, DEFAULTS[problem])
  lowest = dict(n=2, n_test=2, seed=0, noise=0.0, flip=0.0, gap=0.0, width=0.1)
  lowest |= dict(classes=2, std=0.0, box=0.0, centers=0)
  highest = dict(flip=0.5, gap=0.9 * values.get("width", SINE_WIDTH))
  limits = {key: (lowest[key], highest.get(key, np.inf)) for key in values}
  options.check_range(where, values, limits)
  return values
