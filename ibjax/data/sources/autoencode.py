"""Any source with its inputs as targets, for models that reconstruct: autoencode:SOURCE."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint
from ibjax.data import source as source_lib
from ibjax.data.source import Arrays, Source, Split


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens another source and puts its inputs in the place of its labels.

  The target y [n, t] is x, flattened: as it is where x is float, in [0, 1] where it is uint8
  (whatever `config.data.value_range` scales the encoder's input to). A model of targets that is
  given such a source is an autoencoder, and VIB is a variational autoencoder.

  Args:
    argument: the source, as `config.data.source` names it.
    data_dir: where prepared sets live.

  Returns:
    A `Source` of targets; their entropy is not known.

  Raises:
    ConfigError: no source.
    DataError: what the inner source raises.

  Example:
    source = load("mnist", default_data_dir())
  """
  if not argument:
    raise ConfigError(
      "source 'autoencode' needs a source: autoencode:SOURCE, e.g. autoencode:mnist."
    )
  inner = source_lib.load(argument, data_dir)
  width = math.prod(inner.x_shape)
  return dataclasses.replace(
    inner,
    name=f"autoencode:{argument}",
    splits={name: _split(split, width) for name, split in inner.splits.items()},
    num_classes=0,
    class_names=(),
    fingerprint=fingerprint.combine({"autoencode": "1", "source": inner.fingerprint}),
    train_labels=np.zeros(0, np.int32),
    target_dim=width,
    target_entropy_nats=None,
    information_nats=None,
  )


def _split(split: Split, width: int) -> Split:
  def read(indices: np.ndarray) -> Arrays:
    x = split.read(indices)["x"]
    y = x.reshape(len(x), width).astype(np.float32)
    return {"x": x, "y": y / np.float32(255.0) if x.dtype == np.uint8 else y}

  return Split(n=split.n, read=read, nbytes=split.nbytes + 4 * split.n * width)
