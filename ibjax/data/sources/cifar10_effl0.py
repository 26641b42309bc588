"""CIFAR-10 seen by a frozen EfficientNet-Lite0, 6000 + 2000 features [1280]: cifar10_effl0."""

from __future__ import annotations

import pathlib
import zipfile
import zlib

import numpy as np

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays

FILE = pathlib.Path("cifar10_effl0_features") / "features_fp16.npz"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ARRAYS = {"train": ("train", "y_train"), "test": ("test", "y_test")}
_WIDTH = 1280


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens the features: of 6000 training and 2000 test images, the pooled last layer, as it is.

  Args:
    argument: must be empty.
    data_dir: has cifar10_effl0_features/features_fp16.npz, with the arrays train [n, 1280], y_train
      [n], test and y_test.

  Returns:
    A `Source` with float32 inputs [1280] and ten classes.

  Raises:
    ConfigError: an argument was given.
    DataError: the file is missing, damaged or holds something else.
  """
  if argument:
    raise ConfigError(f"source 'cifar10_effl0' takes no argument, found '{argument}'.")
  path = pathlib.Path(data_dir) / FILE
  if not path.exists():
    raise DataError(
      f"source 'cifar10_effl0': there is no {path}. It holds the pooled features [n, {_WIDTH}] of "
      "CIFAR-10 images by EfficientNet-Lite0 as train, y_train, test and y_test (numpy.savez); "
      "--data_dir or IBJAX_DATA_DIR names the folder above."
    )
  splits = {}
  try:
    with np.load(path, allow_pickle=False) as arrays:
      for split, (x, y) in _ARRAYS.items():
        splits[split] = (arrays[x].astype(np.float32), arrays[y].astype(np.int32))
  except (KeyError, OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
    raise DataError(f"{path} is damaged, or another file ({error}). Copy it again.") from error
  for split, (x, _) in splits.items():
    if x.shape[1:] != (_WIDTH,):
      raise DataError(
        f"{path}: {split} has shape {list(x.shape)}, expected [n, {_WIDTH}]: features of another "
        "encoder? A file of your own is read by npz:PATH."
      )
  return from_arrays(
    "cifar10_effl0",
    splits,
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=len(NAMES),
    class_names=NAMES,
  )
