"""Scikit-learn's handwritten digits, 1438 + 359 images [8, 8, 1]; comes with scikit-learn."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens scikit-learn's digits; every fifth example (rows 4, 9, 14, ...) is test.

  Args:
    argument: must be empty.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` with train [1438, 8, 8, 1] and test [359, 8, 8, 1], uint8: the set's own
    grey levels 0..16 times 255/16, rounded.

  Raises:
    ConfigError: an argument was given.
    DataError: scikit-learn is not installed.
  """
  del data_dir
  if argument:
    raise ConfigError(
      f"source 'digits' takes no argument, found 'digits:{argument}'. Use 'digits'."
    )
  try:
    from sklearn.datasets import load_digits
  except ImportError as error:
    raise DataError(
      "source 'digits' is read from scikit-learn, which is not installed. "
      "Run `pip install scikit-learn`."
    ) from error
  levels, labels = load_digits(return_X_y=True)
  x = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
  test = np.arange(len(x)) % 5 == 4
  splits = {"train": (x[~test], labels[~test]), "test": (x[test], labels[test])}
  # The platform's default integer is not the same everywhere; the fingerprint must be.
  splits = {name: (x, y.astype(np.int32)) for name, (x, y) in splits.items()}
  return from_arrays("digits", splits, fingerprint=fingerprint.of_arrays(splits), num_classes=10)
