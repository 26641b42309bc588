"""What a data set is to the rest of ibjax: named splits read at random access, with a fingerprint.

A source is one file in `ibjax/data/sources/`, named as the config names it. The string
`"name:rest"` in `config.data.source` calls `ibjax.data.sources.name.load(rest, data_dir)`.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
import pkgutil
from collections.abc import Callable, Mapping

import numpy as np

from ibjax.core.errors import ConfigError, DataError, unknown

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Split:
  """One split, read at random access.

  Attributes:
    n: number of examples.
    read: `read(indices [k] int64) -> {"x": [k, ...], "y": [k] int32}`; thread-safe, and the
      same indices always give the same arrays.
    nbytes: size in memory of the whole split, decoded.
  """

  n: int
  read: Callable[[np.ndarray], Arrays]
  nbytes: int


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set.

  Attributes:
    name: as the config names it.
    splits: "train" and "test" at least.
    x_shape: shape of one example.
    x_dtype: uint8 (values 0..255, scaled by the feed) or float32 (used as they are).
    num_classes: labels are 0..num_classes-1.
    class_names: one name per class.
    fingerprint: a hash that changes when any value of the set changes.
    train_labels: [n] int32 labels of the training split (their distribution enters the bounds).
  """

  name: str
  splits: Mapping[str, Split]
  x_shape: tuple[int, ...]
  x_dtype: np.dtype
  num_classes: int
  class_names: tuple[str, ...]
  fingerprint: str
  train_labels: np.ndarray


def default_data_dir() -> pathlib.Path:
  """Where prepared sets live: $IBJAX_DATA_DIR, else the user's cache folder."""
  if os.environ.get("IBJAX_DATA_DIR"):
    return pathlib.Path(os.environ["IBJAX_DATA_DIR"])
  cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(cache) / "ibjax"


def source_names() -> list[str]:
  """Names of the sources there are, by discovery."""
  package = importlib.import_module("ibjax.data.sources")
  return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def load(spec: str, data_dir: str | os.PathLike | None = None) -> Source:
  """Opens the data set that a config names.

  Args:
    spec: "name" or "name:argument", e.g. "mnist", "tfds:fashion_mnist:3.0.1", "npz:a.npz".
    data_dir: where prepared sets live; `default_data_dir()` when None.

  Returns:
    A `Source`.

  Raises:
    ConfigError: no such source.
    DataError: the set is missing (says how to get it) or not fit to train on.
  """
  name, _, argument = spec.partition(":")
  if name not in source_names():
    raise ConfigError(unknown("data source", name, source_names(), "See `ibjax data list`."))
  module = importlib.import_module(f"ibjax.data.sources.{name}")
  directory = default_data_dir() if data_dir is None else pathlib.Path(data_dir)
  return module.load(argument, directory)


def from_arrays(
  name: str,
  splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
  *,
  fingerprint: str,
  num_classes: int | None = None,
  class_names: tuple[str, ...] = (),
) -> Source:
  """Makes a source of arrays in memory, after checking every value of them.

  Args:
    name: as the config names it.
    splits: split name -> (x [n, ...] uint8 or float, y [n] integers).
    fingerprint: hash of the values.
    num_classes: when None, one more than the largest training label.
    class_names: names of the classes; "0", "1", ... when empty.

  Returns:
    A `Source`.

  Raises:
    DataError: a split is missing or empty, x and y differ in length, x has NaN or infinite
      values or an unfit dtype, a label is not an integer in range.
  """
  for required in ("train", "test"):
    if required not in splits:
      raise DataError(
        f"data set '{name}' has no split '{required}'; it has {sorted(splits) or 'none'}."
      )
  checked: dict[str, tuple[np.ndarray, np.ndarray]] = {}
  for split, (x, y) in splits.items():
    checked[split] = _check_split(f"{name}/{split}", np.asarray(x), np.asarray(y))
  train_x, train_y = checked["train"]
  classes = int(train_y.max()) + 1 if num_classes is None else num_classes
  for split, (x, y) in checked.items():
    if x.shape[1:] != train_x.shape[1:]:
      raise DataError(
        f"{name}/{split}: one example has shape {list(x.shape[1:])}, "
        f"but in the training split it has shape {list(train_x.shape[1:])}."
      )
    if y.min() < 0 or y.max() >= classes:
      where = int(np.flatnonzero((y < 0) | (y >= classes))[0])
      raise DataError(
        f"{name}/{split}: label {int(y[where])} at row {where} is outside 0..{classes - 1}. "
        "Labels must be integers from 0 to the number of classes less one."
      )
  return Source(
    name=name,
    splits={split: _in_memory(x, y) for split, (x, y) in checked.items()},
    x_shape=train_x.shape[1:],
    x_dtype=train_x.dtype,
    num_classes=classes,
    class_names=class_names or tuple(str(i) for i in range(classes)),
    fingerprint=fingerprint,
    train_labels=train_y,
  )


def _check_split(where: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  if x.ndim < 2:
    raise DataError(f"{where}: x has shape {list(x.shape)}, expected [examples, ...features].")
  if y.ndim != 1 or len(x) != len(y):
    raise DataError(
      f"{where}: x has shape {list(x.shape)} and y {list(y.shape)}, expected y of [{len(x)}]."
    )
  if len(x) == 0:
    raise DataError(f"{where}: the split is empty; there is nothing to train or test on.")
  if not np.issubdtype(y.dtype, np.integer):
    if not (np.issubdtype(y.dtype, np.floating) and np.isfinite(y).all() and (y % 1 == 0).all()):
      raise DataError(f"{where}: y has dtype {y.dtype}, expected integer class labels.")
  if x.dtype != np.uint8:
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
      raise DataError(f"{where}: x has dtype {x.dtype}, expected uint8 or float.")
    finite = np.isfinite(x)
    if not finite.all():
      row = int(np.argwhere(~finite)[0][0])
      raise DataError(
        f"{where}: {int((~finite).sum())} values of x are NaN or infinite, the first in row "
        f"{row}. Remove or impute them before training."
      )
    x = x.astype(np.float32)
  return x, y.astype(np.int32)


def _in_memory(x: np.ndarray, y: np.ndarray) -> Split:
  def read(indices: np.ndarray) -> Arrays:
    return {"x": x[indices], "y": y[indices]}

  return Split(n=len(y), read=read, nbytes=x.nbytes + y.nbytes)
