"""Kuzushiji-MNIST, images [28, 28, 1]: kmnist or kmnist:FOLDER; the test split alone will do."""

from __future__ import annotations

import dataclasses
import pathlib
import zipfile
import zlib

import numpy as np

from ibjax.core.errors import DataError
from ibjax.data import files, fingerprint
from ibjax.data.source import Source, from_arrays

FOLDERS = ("kmnist", "kmnist_test")  # below data_dir, the first that is there
_COUNTS = {"train": 60000, "test": 10000}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens the files that the set is published as, kmnist-test-imgs.npz and its like.

  Args:
    argument: the folder that holds them; without one, `kmnist` in data_dir.
    data_dir: where prepared sets live.

  Returns:
    A `Source`, uint8, with test [10000, 28, 28, 1], and train [60000, 28, 28, 1] where the folder
    has kmnist-train-imgs.npz. Without it the set serves as an outside of another (see
    `ibjax.evaluators.outside`), and cannot be trained on.

  Raises:
    DataError: no such folder, or a file that is missing or damaged.
  """
  here = [name for name in FOLDERS if (data_dir / name).is_dir()]
  if not (argument or here):
    raise DataError(
      f"kmnist: there is no {data_dir / FOLDERS[0]}. Put kmnist-test-imgs.npz and "
      "kmnist-test-labels.npz (of the set's own site, codh.rois.ac.jp/kmnist) into it, or write "
      "kmnist:FOLDER."
    )
  folder = files.locate("kmnist", argument, data_dir) if argument else data_dir / here[0]
  splits = {"test": _split(folder, "test")}
  if (folder / "kmnist-train-imgs.npz").exists():
    splits["train"] = _split(folder, "train")
  # Without a training split the test images are checked in its place, and then taken out of it.
  source = from_arrays(
    f"kmnist:{argument}" if argument else "kmnist",
    {"train": splits["test"], **splits},
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=10,
  )
  if "train" in splits:
    return source
  labels = np.zeros(0, np.int32)
  return dataclasses.replace(source, splits={"test": source.splits["test"]}, train_labels=labels)


def _split(folder: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
  n = _COUNTS[split]
  x = _array(folder / f"kmnist-{split}-imgs.npz", (n, 28, 28))
  return x[..., None], _array(folder / f"kmnist-{split}-labels.npz", (n,))


def _array(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
  try:
    with np.load(path, allow_pickle=False) as arrays:
      found = arrays["arr_0"]
  except FileNotFoundError as error:
    raise DataError(f"kmnist: there is no {path}. It comes with the set's images.") from error
  except (OSError, EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile) as error:
    raise DataError(f"{path} is damaged ({error}). Copy it again.") from error
  if found.shape != shape or found.dtype != np.uint8:
    raise DataError(
      f"{path} holds {list(found.shape)} {found.dtype}, expected {list(shape)} uint8. "
      "Is it the right file?"
    )
  return found
