"""Some classes of any labelled source, counted anew from 0: classes:0-7:mnist, classes:2,5:..."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import feed, fingerprint
from ibjax.data import source as source_lib
from ibjax.data.source import Arrays, Source, Split

_BLOCK = 4096


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens another source and keeps the examples of some of its classes.

  What is left out can be the outside of a model that never saw it.

  Args:
    argument: "CLASSES:SOURCE"; classes are numbers and ranges of numbers, "0-3,7".
    data_dir: where prepared sets live.

  Returns:
    A `Source`; the kept classes are 0, 1, ... in rising order.

  Raises:
    ConfigError: no source, no such class, or a source of tokens or of real-valued targets.
    DataError: a split has no example of these classes, or what the inner source raises.

  Example:
    source = load("0-7:mnist", default_data_dir())
  """
  chosen, _, name = argument.partition(":")
  if not name:
    raise ConfigError(f"classes:{argument} names no source; write e.g. classes:0-7:mnist.")
  whole = source_lib.load(name, data_dir)
  if whole.target_dim:
    raise ConfigError(f"classes:{argument}: '{name}' has real-valued targets, not classes.")
  if any(part.read(np.zeros(1, np.int64))["y"].ndim != 1 for part in whole.splits.values()):
    raise ConfigError(
      f"classes:{argument}: '{name}' has a label at every position, not one of each example; a "
      "source of tokens cannot be cut by them."
    )
  kept = _numbers(argument, chosen, whole.num_classes)
  new = np.full(whole.num_classes, -1, np.int32)
  new[kept] = np.arange(len(kept))
  splits, train_labels = {}, np.zeros(0, np.int32)
  for split, part in whole.splits.items():
    labels = whole.train_labels if split == "train" else _labels(part)
    rows = np.flatnonzero(new[labels] >= 0)
    if not len(rows):
      raise DataError(f"classes:{argument}: the split '{split}' has no example of these classes.")
    splits[split] = _renamed(feed.subset(part, rows), new)
    if split == "train":
      train_labels = new[labels[rows]]
  digest = fingerprint.combine({"classes": str(kept), "source": whole.fingerprint})
  return dataclasses.replace(
    whole,
    name=f"classes:{argument}",
    splits=splits,
    num_classes=len(kept),
    class_names=tuple(whole.class_names[i] for i in kept),
    fingerprint=digest,
    train_labels=train_labels,
    information_nats=None,
  )


def _renamed(part: Split, new: np.ndarray) -> Split:
  def read(indices: np.ndarray) -> Arrays:
    found = part.read(indices)
    return {**found, "y": new[found["y"]]}

  return dataclasses.replace(part, read=read)


def _labels(part: Split) -> np.ndarray:
  blocks = (np.arange(first, min(first + _BLOCK, part.n)) for first in range(0, part.n, _BLOCK))
  return np.concatenate([part.read(block)["y"] for block in blocks])


def _numbers(argument: str, text: str, count: int) -> list[int]:
  found: set[int] = set()
  for item in text.split(","):
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
    if match is None:
      raise ConfigError(f"classes:{argument}: '{item}' is no class or range; write e.g. 0-3,7.")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < count:
      raise ConfigError(
        f"classes:{argument}: classes {item} are asked for, and there are 0..{count - 1}."
      )
    found |= set(range(first, last + 1))
  return sorted(found)
