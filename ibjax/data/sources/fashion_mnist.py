"""Fashion-MNIST, 60000 + 10000 images [28, 28, 1]: fashion_mnist or fashion_mnist:FOLDER."""

from __future__ import annotations

import pathlib

from ibjax.core.errors import DataError
from ibjax.data import files, fingerprint, idx
from ibjax.data.source import Source, from_arrays

FOLDER = "fashion_mnist"
NAMES = (
  *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
  *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_FILES = {"train": ("train", 60000), "test": ("t10k", 10000)}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens the four idx files that the set is published as, train-images-idx3-ubyte.gz and so on.

  `tfds:fashion_mnist:3.0.1` is the same set, prepared.

  Args:
    argument: the folder that holds them; without one, `fashion_mnist` in data_dir.
    data_dir: where prepared sets live.

  Returns:
    A `Source` with train [60000, 28, 28, 1] and test [10000, 28, 28, 1], uint8.

  Raises:
    DataError: no such folder, or a file that is missing or damaged.

  Example:
    source = load("", default_data_dir())
  """
  folder = data_dir / FOLDER
  if argument:
    folder = files.locate("fashion_mnist", argument, data_dir)
  if not folder.is_dir():
    raise DataError(
      f"fashion_mnist: there is no folder {folder}. Put train-images-idx3-ubyte.gz, "
      "train-labels-idx1-ubyte.gz and the same of t10k (github.com/zalandoresearch/fashion-mnist, "
      "or the Debian package dataset-fashion-mnist) into it, or write fashion_mnist:FOLDER."
    )
  splits = {}
  for split, (stem, n) in _FILES.items():
    x = idx.read(folder / f"{stem}-images-idx3-ubyte.gz", shape=(n, 28, 28))
    y = idx.read(folder / f"{stem}-labels-idx1-ubyte.gz", shape=(n,))
    splits[split] = (x[..., None], y)
  return from_arrays(
    f"fashion_mnist:{argument}" if argument else "fashion_mnist",
    splits,
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=10,
    class_names=NAMES,
  )
