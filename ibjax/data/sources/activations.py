"""A layer's activations from a store on disk, activations:FOLDER; see `ibjax data activations`."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core.errors import ConfigError, DataError, InputError, unknown
from ibjax.data import files, fingerprint, store
from ibjax.data.source import Arrays, Source, Split

# What an argument may say that the store must be.
EXPECTED = ("width", "layer", "model", "data", "fingerprint")


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens an activation store; every row is an example, at random access.

  Its labels are those of the examples that the model was given (the next token, of text). A
  sparse autoencoder is trained on autoencode:activations:FOLDER.

  Args:
    argument: "FOLDER" or "FOLDER:key=value,..." with what the store must be, which is checked:
      width, layer, and the model's, data's or the store's own fingerprint (or its first digits).
    data_dir: where prepared sets live; FOLDER is absolute, or below the current folder or this.

  Returns:
    A `Source`, float32 [rows, width].

  Raises:
    ConfigError: no folder, or an unknown key.
    DataError: no store there, an unfinished or damaged one, or one of another model or width.

  Example:
    source = load("runs/mnist/hidden:width=64", default_data_dir())
  """
  name, _, text = argument.partition(":")
  folder = files.locate("activations", name, data_dir)
  index = store.read_index(folder)
  _check_expected(f"activations:{argument}", text, index)
  splits = {}
  for split, of in index["splits"].items():
    read = store.reader(folder, index, split)
    splits[split] = Split(n=of["rows"], read=read, nbytes=of["rows"] * 4 * (index["width"] + 1))
  return _source(
    f"activations:{argument}",
    splits,
    index["width"],
    index["num_classes"],
    tuple(index["class_names"]),
    index["fingerprint"],
    store.labels(folder, index, "train") if "train" in splits else np.zeros(0, np.int32),
  )


def live(
  name: str,
  parts: Mapping[str, store.Part],
  *,
  origin: Mapping[str, str],
  num_classes: int = 0,
  class_names: tuple[str, ...] = (),
) -> Source:
  """Makes a source whose activations are computed when they are read, with nothing on disk.

  Its rows are those of a store that `ibjax.data.store_write.write` makes of the same parts, in
  the same order. A row of an example of many positions costs the whole example: with shuffled
  rows a store is faster after the first pass.

  Args:
    name: what the source is called.
    parts: split -> `Part`.
    origin: "model", "layer" and "data", texts that make the fingerprint.
    num_classes: labels are 0..num_classes-1; 0 when there are none.
    class_names: names of the classes.

  Returns:
    A `Source`, float32 [rows, width].

  Raises:
    InputError: no split.
    DataError: at reading, when an activation is NaN or infinite.

  Example:
    >>> import numpy as np
    >>> from ibjax.data.sources.activations import live
    >>> from ibjax.data.store import Part
    >>> part = Part(4, lambda rows: {"x": np.outer(rows, [1.0, 2.0])})
    >>> origin = {"model": "twice", "layer": "out", "data": "0..3"}
    >>> source = live("twice", {"train": part, "test": part}, origin=origin)
    >>> source.splits["train"].read(np.array([3]))["x"].tolist()
    [[3.0, 6.0]]
  """
  if not parts:
    raise InputError("a source of activations needs at least one split.")
  splits, shape = {}, (0, 0)
  for split, part in parts.items():
    first = np.asarray(part.read(np.arange(1))["x"])
    shape = (first.shape[1] if first.ndim == 3 else 1, first.shape[-1])
    rows = part.examples * shape[0]
    splits[split] = Split(
      rows, _live_reader(part, shape[0], f"{name}/{split}"), 4 * rows * shape[1]
    )
  told = {**{key: str(value) for key, value in origin.items()}, "shape": str(shape)}
  told |= {f"split.{split}": str(of.n) for split, of in splits.items()}
  train = splits.get("train")
  train_labels = np.zeros(0 if train is None else train.n, np.int32)
  if num_classes and train is not None:
    train_labels = train.read(np.arange(train.n))["y"]
  digest = fingerprint.combine(told)
  return _source(name, splits, shape[1], num_classes, class_names, digest, train_labels)


def _live_reader(part: store.Part, positions: int, where: str):
  def read(rows: np.ndarray) -> Arrays:
    rows = np.asarray(rows, np.int64)
    numbers, of = np.unique(rows // positions, return_inverse=True)
    found = part.read(numbers)
    x = np.asarray(found["x"], np.float32).reshape(len(numbers), positions, -1)
    y = np.asarray(found.get("y", np.zeros(len(numbers))), np.int32).reshape(len(numbers), -1)
    at = rows % positions
    y = np.broadcast_to(y, (len(numbers), positions))
    return {"x": store.finite(x[of, at], where, rows), "y": y[of, at]}

  return read


def _source(name, splits, width, num_classes, class_names, digest, train_labels) -> Source:
  classes = max(num_classes, 1)  # without labels all rows are of one class
  return Source(
    name=name,
    splits=splits,
    x_shape=(width,),
    x_dtype=np.dtype(np.float32),
    num_classes=classes,
    class_names=class_names or tuple(str(i) for i in range(classes)),
    fingerprint=digest,
    train_labels=train_labels,
  )


def _check_expected(where: str, text: str, index: Mapping[str, Any]) -> None:
  found = {**index["origin"], "width": str(index["width"]), "fingerprint": index["fingerprint"]}
  for item in text.split(",") if text else []:
    key, _, value = item.partition("=")
    if key not in EXPECTED:
      raise ConfigError(unknown("key of activations:FOLDER", key, EXPECTED, "Write key=value."))
    exact = key in ("width", "layer")
    if not value or (found[key] != value if exact else not found[key].startswith(value)):
      raise DataError(
        f"{where}: {key}={value} is asked for, and the store has {key}={found[key]}. It is of "
        "another model, layer or width; name the store that fits, or write it."
      )
