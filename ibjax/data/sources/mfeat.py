"""UCI Multiple Features, 1600 + 400 digits seen by six groups of features: mfeat:fou+zer."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, DataError, unknown
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays

# Group -> columns: profile correlations, Fourier coefficients, Karhunen-Loeve coefficients,
# morphological features, pixel averages of 2 x 3 windows, Zernike moments.
GROUPS = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens the set; an input is its groups of features side by side.

  Every fifth example (rows 4, 9, 14, ...) is test. Each column is standardised by the mean and
  the standard deviation of the training rows.

  Args:
    argument: groups joined by "+", in the order wanted; "" takes all six.
    data_dir: has uci_mfeat/mfeat.npz with one array [2000, columns] a group, and y.

  Returns:
    A `Source` with train [1600, columns] and test [400, columns] float32 and ten classes, 160
    and 40 examples of each.

  Raises:
    ConfigError: an unknown group, or one named twice.
    DataError: the file is missing, or not the set.
  """
  names = argument.split("+") if argument else list(GROUPS)
  for name in names:
    if name not in GROUPS:
      raise ConfigError(unknown("group of source 'mfeat'", name, GROUPS, "Write mfeat:fou+zer."))
  if len(set(names)) < len(names):
    raise ConfigError(f"mfeat:{argument} names a group twice; each can be used once.")
  path = pathlib.Path(data_dir) / "uci_mfeat" / "mfeat.npz"
  if not path.exists():
    raise DataError(
      f"source 'mfeat': there is no {path}. Save the six groups {list(GROUPS)}, each "
      "[2000, columns], and y [2000] of UCI's Multiple Features there by numpy.savez, with "
      "--data_dir or IBJAX_DATA_DIR naming the folder above."
    )
  with np.load(path, allow_pickle=False) as arrays:
    missing = sorted({*GROUPS, "y"} - set(arrays.files))
    if missing:
      raise DataError(f"{path} lacks the arrays {missing}.")
    x = np.concatenate([arrays[name] for name in names], axis=1).astype(np.float64)
    y = arrays["y"].astype(np.int32)
  wanted = (2000, sum(GROUPS[name] for name in names))
  if x.shape != wanted:
    raise DataError(f"{path}: the groups {names} have shape {x.shape}, expected {wanted}.")
  test = np.arange(len(x)) % 5 == 4
  mean, spread = x[~test].mean(axis=0), x[~test].std(axis=0)
  x = ((x - mean) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
  splits = {"train": (x[~test], y[~test]), "test": (x[test], y[test])}
  return from_arrays(
    f"mfeat:{argument}" if argument else "mfeat",
    splits,
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=10,
  )
