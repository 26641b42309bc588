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

_CHECK_VALUES = 1 << 22  # values of x looked at together
_MOST_CLASSES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Split:
  """One split, read at random access.

  Attributes:
    n: number of examples.
    read: `read(indices [k] int64) -> {"x": [k, ...], "y": [k] int32 labels or [k, t] float32
      targets}`; thread-safe, and the same indices always give the same arrays.
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
    num_classes: labels are 0..num_classes-1; 0 for real-valued targets.
    class_names: one name per class.
    fingerprint: a hash that changes when any value of the set changes.
    train_labels: [n] int32 labels of the training split (their distribution enters the bounds);
      [0] for targets.
    target_dim: t, width of the real-valued target y [n, t] float32; 0 for labels.
    target_entropy_nats: exact differential entropy H(Y), where a synthetic task knows it.
    information_nats: exact I(X;Y), where a synthetic task knows it.
    target_mean: [t] what a stored target of 0 is in its own unit; () where targets are stored in
      their own unit, or there are none.
    target_scale: [t] what a step of 1 in a stored target is in its own unit; () likewise.
    target_unit: the name of that unit, for people.
  """

  name: str
  splits: Mapping[str, Split]
  x_shape: tuple[int, ...]
  x_dtype: np.dtype
  num_classes: int
  class_names: tuple[str, ...]
  fingerprint: str
  train_labels: np.ndarray
  target_dim: int = 0
  target_entropy_nats: float | None = None
  information_nats: float | None = None
  target_mean: tuple[float, ...] = ()
  target_scale: tuple[float, ...] = ()
  target_unit: str = ""


def default_data_dir() -> pathlib.Path:
  """Where prepared sets live: $IBJAX_DATA_DIR, else the user's cache folder.

  Returns:
    A folder, which need not exist.
  """
  if os.environ.get("IBJAX_DATA_DIR"):
    return pathlib.Path(os.environ["IBJAX_DATA_DIR"]).expanduser()
  cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(cache) / "ibjax"


def source_names() -> list[str]:
  """Names of the sources there are, by discovery.

  Returns:
    Names in alphabetical order, e.g. "mnist", "tfds".
  """
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
    hint = "A set of TFDS is named tfds:NAME:VERSION. See `ibjax data list`."
    raise ConfigError(unknown("data source", name, source_names(), hint))
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
  target_entropy_nats: float | None = None,
  information_nats: float | None = None,
  target_mean: tuple[float, ...] = (),
  target_scale: tuple[float, ...] = (),
  target_unit: str = "",
) -> Source:
  """Makes a source of arrays in memory or memory-mapped, after checking every value of them.

  A `np.memmap` stays on disk and is read row by row; any other array is held in memory.

  Args:
    name: as the config names it.
    splits: split name -> (x [n, ...] uint8 or float, y [n] integer labels or [n, t] float targets
      to regress on).
    fingerprint: hash of the values.
    num_classes: when None, one more than the largest training label.
    class_names: names of the classes; "0", "1", ... when empty.
    target_entropy_nats: exact differential entropy H(Y) of targets, where it is known.
    information_nats: exact I(X;Y), where it is known.
    target_mean: [t] the mean that was taken off the targets, in their own unit; () for none.
    target_scale: [t] what they were divided by then; () for nothing.
    target_unit: the name of that unit.

  Returns:
    A `Source`.

  Raises:
    DataError: a split is missing or empty, x and y differ in length, x or a target has NaN or
      infinite values or an unfit dtype, the splits do not agree, a label is not an integer in
      range.
  """
  for required in ("train", "test"):
    if required not in splits:
      raise DataError(
        f"data set '{name}' has no split '{required}'; it has {sorted(splits) or 'none'}."
      )
  checked: dict[str, tuple[np.ndarray, np.ndarray]] = {}
  for split, (x, y) in splits.items():
    # asarray would hide that a memory-mapped array lives on disk.
    mapped = x if isinstance(x, np.memmap) else np.asarray(x)
    checked[split] = _check_split(f"{name}/{split}", mapped, np.asarray(y))
  train_x, train_y = checked["train"]
  target_dim = train_y.shape[1] if train_y.ndim == 2 else 0
  classes = 0 if target_dim else int(train_y.max()) + 1 if num_classes is None else num_classes
  if classes > _MOST_CLASSES:
    raise DataError(
      f"{name}/train: label {classes - 1} would make {classes} classes, more than "
      f"{_MOST_CLASSES}. Is y the class of each example, and not a value to regress on? "
      "Such values are given as floats of shape [n, t]."
    )
  for split, (x, y) in checked.items():
    if x.shape[1:] != train_x.shape[1:]:
      raise DataError(
        f"{name}/{split}: one example has shape {list(x.shape[1:])}, "
        f"but in the training split it has shape {list(train_x.shape[1:])}."
      )
    if (x.dtype == np.uint8) != (train_x.dtype == np.uint8):
      raise DataError(
        f"{name}/{split}: x has dtype {x.dtype}, but in the training split it has "
        f"{train_x.dtype}. uint8 is scaled by 1/255 and float is not: store both alike."
      )
    if y.shape[1:] != train_y.shape[1:]:
      raise DataError(
        f"{name}/{split}: one y has shape {list(y.shape[1:])}, "
        f"but in the training split it has shape {list(train_y.shape[1:])}."
      )
    if not target_dim:
      check_labels(f"{name}/{split}", y, classes)
  dtype = np.float32 if target_dim else np.int32
  return Source(
    name=name,
    splits={split: _split(x, y.astype(dtype)) for split, (x, y) in checked.items()},
    x_shape=train_x.shape[1:],
    x_dtype=_fed_dtype(train_x),
    num_classes=classes,
    class_names=class_names or tuple(str(i) for i in range(classes)),
    fingerprint=fingerprint,
    train_labels=train_y.astype(np.int32) if not target_dim else np.zeros(0, np.int32),
    target_dim=target_dim,
    target_entropy_nats=target_entropy_nats,
    information_nats=information_nats,
    target_mean=target_mean,
    target_scale=target_scale,
    target_unit=target_unit,
  )


def check_labels(where: str, y: np.ndarray, num_classes: int) -> None:
  """Raises DataError, naming the first row, unless the labels y [n] are 0..num_classes-1.

  Args:
    where: the split, for the message.
    y: [n] numbers, n > 0.
    num_classes: how many classes there are.

  Raises:
    DataError: a label is outside the range.
  """
  if y.min() < 0 or y.max() >= num_classes:
    row = int(np.flatnonzero((y < 0) | (y >= num_classes))[0])
    raise DataError(
      f"{where}: label {int(y[row])} at row {row} is outside 0..{num_classes - 1}. "
      "Labels must be integers from 0 to the number of classes less one."
    )


def _check_split(where: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  if x.ndim < 2:
    raise DataError(f"{where}: x has shape {list(x.shape)}, expected [examples, ...features].")
  targets = y.ndim == 2 and np.issubdtype(y.dtype, np.floating) and y.shape[1] > 0
  if not (y.ndim == 1 or targets) or len(x) != len(y):
    raise DataError(
      f"{where}: x has shape {list(x.shape)} and y {list(y.shape)} {y.dtype}, expected y of "
      f"[{len(x)}] integer labels, or of [{len(x)}, t] floats to regress on."
    )
  if len(x) == 0:
    raise DataError(f"{where}: the split is empty; there is nothing to train or test on.")
  if targets:
    _check_finite(where, y, "y")
  elif not (np.issubdtype(y.dtype, np.integer) or _whole_numbers(y)):
    raise DataError(
      f"{where}: y has dtype {y.dtype}, expected integer class labels. Values to regress on are "
      f"given as floats of shape [{len(y)}, t]: y[:, None] for one of them."
    )
  if x.dtype != np.uint8:
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
      raise DataError(f"{where}: x has dtype {x.dtype}, expected uint8 or float.")
    _check_finite(where, x, "x")
    if not isinstance(x, np.memmap):
      x = x.astype(np.float32, copy=False)
  return x, y


def _whole_numbers(y: np.ndarray) -> bool:
  return bool(np.issubdtype(y.dtype, np.floating) and np.isfinite(y).all() and (y % 1 == 0).all())


def _check_finite(where: str, x: np.ndarray, name: str) -> None:
  # In blocks, so that a set larger than memory can be checked where it lies.
  rows = max(1, _CHECK_VALUES // max(1, int(np.prod(x.shape[1:]))))
  bad, first = 0, 0
  for start in range(0, len(x), rows):
    with np.errstate(over="ignore"):  # a float64 too large for float32 is found just below
      finite = np.isfinite(np.asarray(x[start : start + rows]).astype(np.float32))
    if not finite.all():
      first = first if bad else start + int(np.argwhere(~finite)[0][0])
      bad += int((~finite).sum())
  if bad:
    raise DataError(
      f"{where}: {bad} values of {name} are NaN or infinite (or too large for float32), the first "
      f"in row {first}. Remove or impute them before training."
    )


def _fed_dtype(x: np.ndarray) -> np.dtype:
  return np.dtype(np.uint8 if x.dtype == np.uint8 else np.float32)


def _split(x: np.ndarray, y: np.ndarray) -> Split:
  dtype = _fed_dtype(x)

  def read(indices: np.ndarray) -> Arrays:
    return {"x": np.asarray(x[indices]).astype(dtype, copy=False), "y": y[indices]}

  return Split(n=len(y), read=read, nbytes=x.size * dtype.itemsize + y.nbytes)
