"""Eight Gaussian classes in the unit square, four pairs to learn in turn: eight_gaussians:n=400."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint, options
from ibjax.data.source import Source, from_arrays

# Classes 0 and 1 are the first pair, and so on.
MEANS = (
  *((0.25, 0.25), (0.75, 0.5), (0.75, 0.25), (0.5, 0.75)),
  *((0.75, 0.75), (0.25, 0.5), (0.25, 0.75), (0.5, 0.25)),
)
_DEFAULTS = dict(n=400, seed=0, std=0.035, n_test=800, uniform=0)


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws the two-dimensional problem of the key-value bottleneck's paper.

  Args:
    argument: "key=value,...": n training and n_test test examples, the same number of each class,
      seed of the training split, and std, the standard deviation of every class; with uniform=1
      inputs are drawn evenly from the unit square instead, whatever their labels: the data that
      the paper starts its keys from. The test split is the same for all seeds.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of float32 inputs [2] and eight classes.

  Raises:
    ConfigError: an unknown key, or a number of examples that eight does not divide.

  Source: Traeuble et al. 2023 (arXiv:2207.11240), figure 2, whose published notebook has these
  means and this deviation, and 100 examples a task.
  """
  del data_dir
  values = options.parse("eight_gaussians", argument, _DEFAULTS)
  for key in ("n", "n_test"):
    if values[key] < 8 or values[key] % 8:
      raise ConfigError(f"eight_gaussians: {key}={values[key]} must be a multiple of 8.")
  ranges = {"seed": (0, 2**31), "std": (0.0, float("inf")), "uniform": (0, 1)}
  options.check_range("eight_gaussians", values, ranges)
  splits = {
    # Streams of their own, so that a training seed never draws the test split.
    "train": _draw(np.random.default_rng([int(values["seed"]), 0]), values["n"], values),
    "test": _draw(np.random.default_rng([0, 1]), values["n_test"], values),
  }
  name = f"eight_gaussians:{argument}" if argument else "eight_gaussians"
  return from_arrays(name, splits, fingerprint=fingerprint.of_arrays(splits), num_classes=8)


def _draw(rng: np.random.Generator, n: float, values: Mapping[str, float]):
  y = rng.permutation(np.arange(int(n)) % 8).astype(np.int32)
  x = np.asarray(MEANS)[y] + values["std"] * rng.normal(size=(int(n), 2))
  if values["uniform"]:
    x = rng.uniform(size=x.shape)
  return x.astype(np.float32), y
