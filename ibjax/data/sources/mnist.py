"""MNIST handwritten digits, 60000 + 10000 images [28, 28, 1]; comes with ibjax."""

from __future__ import annotations

import pathlib

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint, idx
from ibjax.data.source import Source, from_arrays

FOLDER = pathlib.Path(__file__).parent.parent / "embedded" / "mnist"
_FILES = {"train": ("train", 60000), "test": ("t10k", 10000)}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens the MNIST that is part of the package.

  Args:
    argument: must be empty: there is one MNIST.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` with train [60000, 28, 28, 1] and test [10000, 28, 28, 1], uint8.

  Raises:
    ConfigError: an argument was given.
    DataError: a file of the package is missing or damaged.
  """
  del data_dir
  if argument:
    raise ConfigError(f"source 'mnist' takes no argument, found 'mnist:{argument}'. Use 'mnist'.")
  splits = {}
  for split, (stem, n) in _FILES.items():
    x = idx.read(FOLDER / f"{stem}-images-idx3-ubyte.gz", shape=(n, 28, 28))
    y = idx.read(FOLDER / f"{stem}-labels-idx1-ubyte.gz", shape=(n,))
    splits[split] = (x[..., None], y)
  return from_arrays("mnist", splits, fingerprint=fingerprint.of_arrays(splits), num_classes=10)
