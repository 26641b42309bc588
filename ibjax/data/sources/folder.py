"""A folder of .npy files of your own, folder:PATH, read from disk and larger than memory."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import DataError
from ibjax.data import files, fingerprint
from ibjax.data.source import Source, from_arrays


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens a folder holding x_train.npy, y_train.npy, x_test.npy, y_test.npy.

  x stays on disk, mapped into memory, and rows are read as they are asked for. Every value is
  looked at once here, in blocks.

  Args:
    argument: the folder's path, absolute or relative to the current folder, then to data_dir.
    data_dir: where prepared sets live.

  Returns:
    A `Source`; x_validation.npy and y_validation.npy, when there, make a third split.

  Raises:
    ConfigError: no path was given.
    DataError: no such folder, files that are missing, misnamed, damaged, hold Python
      objects, or have values that cannot be trained on.

  Example:
    np.save("toy/x_train.npy", x)  # and y_train, x_test, y_test
    source = load("toy", default_data_dir())
  """
  folder = files.locate("folder", argument, data_dir)
  if not folder.is_dir():
    raise DataError(
      f"{folder} is a file; source 'folder' expects a folder of .npy files. "
      f"For one .npz file write 'npz:{argument}'."
    )
  splits: dict[str, tuple[np.ndarray, np.ndarray]] = {}
  hashes: dict[str, str] = {}
  for split in files.splits_of(str(folder), [p.name for p in folder.iterdir()], ".npy"):
    paths = [folder / f"{axis}_{split}.npy" for axis in "xy"]
    splits[split] = (_mapped(paths[0]), _mapped(paths[1]))
    hashes |= {path.name: fingerprint.of_file(path) for path in paths}
  return from_arrays(f"folder:{argument}", splits, fingerprint=fingerprint.combine(hashes))


def _mapped(path: pathlib.Path) -> np.ndarray:
  try:
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    if "Python objects" in str(error) or "allow_pickle" in str(error):
      raise DataError(
        f"{path} holds Python objects, or is no .npy file. ibjax never unpickles data, because "
        "a pickle can run any program. Store numbers: np.save(PATH, array)."
      ) from error
    raise DataError(
      f"{path} is damaged or cut short ({error}). Copy it again, or write it with np.save."
    ) from error
