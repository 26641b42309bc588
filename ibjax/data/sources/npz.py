"""One .npz file of your own, npz:PATH, holding x_train, y_train, x_test, y_test."""

from __future__ import annotations

import pathlib
import zipfile
import zlib

import numpy as np

from ibjax.core.errors import DataError
from ibjax.data import files, fingerprint
from ibjax.data.source import Source, from_arrays


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens an .npz file; all of it is read into memory.

  Args:
    argument: the file's path, absolute or relative to the current folder, then to data_dir.
    data_dir: where prepared sets live.

  Returns:
    A `Source`; x_validation and y_validation, when there, make a third split.

  Raises:
    ConfigError: no path was given.
    DataError: no such file, a damaged one, arrays that are missing, misnamed, hold Python
      objects, or have values that cannot be trained on.

  Example:
    np.savez("toy.npz", x_train=x, y_train=y, x_test=x2, y_test=y2)
    source = load("toy.npz", default_data_dir())
  """
  path = files.locate("npz", argument, data_dir)
  if not zipfile.is_zipfile(path):
    raise DataError(
      f"{path} is not a whole .npz file: it was cut short, or is of another kind. "
      "Copy it again, or write it with np.savez(PATH, x_train=..., y_train=..., ...)."
    )
  splits = {}
  with np.load(path, allow_pickle=False) as arrays:
    for split in files.splits_of(str(path), arrays.files):
      splits[split] = (_array(path, arrays, f"x_{split}"), _array(path, arrays, f"y_{split}"))
  return from_arrays(f"npz:{argument}", splits, fingerprint=fingerprint.of_arrays(splits))


def _array(path: pathlib.Path, arrays: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
  try:
    return arrays[name]
  except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
    if "allow_pickle" in str(error):
      raise DataError(
        f"{path}: '{name}' holds Python objects. ibjax never unpickles data, because a pickle "
        "can run any program. Store numbers: np.asarray(values, dtype=np.float32)."
      ) from error
    raise DataError(f"{path}: '{name}' is damaged ({error}). Copy the file again.") from error
