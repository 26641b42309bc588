"""What a fixed network makes of any source: readout:logits:SOURCE or readout:gradient:SOURCE."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.core.fixed_network import fixed_weights
from ibjax.data import fingerprint
from ibjax.data import source as source_lib
from ibjax.data.source import Arrays, Source, Split

KINDS = ("logits", "gradient")
HIDDEN, CLASSES, SEED, GAIN = 64, 10, 0, 4.0


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens a source of activations and asks a fixed network about them.

  The network is `ibjax.models.readout` with hidden=64, 10 logits, seed=0 and gain=4. "logits":
  the target y [n, 10] of an activation x are its logits. "gradient": the input is [x, g], g the
  gradient by x of -log p(c | x), c the network's most likely class, divided by the mean length of
  g over the first 1024 training examples; the target is x.

  Args:
    argument: "KIND:SOURCE", e.g. "gradient:planted:superposition"; SOURCE stores floats.
    data_dir: where prepared sets live.

  Returns:
    A `Source` of targets.

  Raises:
    ConfigError: an unknown kind, no source, or one that does not store floats.
    DataError: what the inner source raises.

  Example:
    source = load("logits:planted:superposition", default_data_dir())
  """
  kind, _, inner_name = argument.partition(":")
  if kind not in KINDS or not inner_name:
    hint = "Write readout:logits:SOURCE or readout:gradient:SOURCE."
    raise ConfigError(unknown("kind of source 'readout'", kind, KINDS, hint))
  inner = source_lib.load(inner_name, data_dir)
  if not np.issubdtype(inner.x_dtype, np.floating):
    raise ConfigError(
      f"source 'readout' reads activations, which are floats; '{inner_name}' stores "
      f"{inner.x_dtype}. Use planted:KIND or a store of activations."
    )
  width = math.prod(inner.x_shape)
  weights = fixed_weights(width, HIDDEN, CLASSES, SEED)
  if kind == "logits":
    shape, target = inner.x_shape, CLASSES

    def put(x: np.ndarray) -> Arrays:
      return {"x": x, "y": _logits(x.reshape(len(x), -1), *weights)}
  else:
    train = inner.splits["train"]
    some = train.read(np.arange(min(1024, train.n)))["x"]
    mean = float(np.mean(np.linalg.norm(_gradient(some.reshape(len(some), -1), *weights), axis=1)))
    shape, target = (2 * width,), width

    def put(x: np.ndarray) -> Arrays:
      flat = x.reshape(len(x), -1).astype(np.float32)
      slope = _gradient(flat, *weights) / np.float32(max(mean, 1e-12))
      return {"x": np.concatenate([flat, slope], axis=1), "y": flat}

  def wrap(split: Split) -> Split:
    size = 4 * split.n * (math.prod(shape) + target)
    return Split(n=split.n, read=lambda indices: put(split.read(indices)["x"]), nbytes=size)

  return dataclasses.replace(
    inner,
    name=f"readout:{argument}",
    splits={name: wrap(split) for name, split in inner.splits.items()},
    x_shape=shape,
    x_dtype=np.dtype(np.float32),
    num_classes=0,
    class_names=(),
    fingerprint=fingerprint.combine({"readout": "1", "kind": kind, "source": inner.fingerprint}),
    train_labels=np.zeros(0, np.int32),
    target_dim=target,
    target_entropy_nats=None,
    information_nats=None,
  )


def _logits(x: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
  return np.float32(GAIN) * (np.maximum(x @ first, 0.0) @ last)


def _gradient(x: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
  """The gradient [n, width] of -log p(most likely class) by x."""
  hidden = x @ first
  logits = np.float32(GAIN) * (np.maximum(hidden, 0.0) @ last)
  chance = np.exp(logits - logits.max(axis=1, keepdims=True))
  by_logits = chance / chance.sum(axis=1, keepdims=True)
  by_logits[np.arange(len(x)), logits.argmax(axis=1)] -= 1.0
  by_hidden = np.float32(GAIN) * (by_logits @ last.T) * (hidden > 0)
  return (by_hidden @ first.T).astype(np.float32)
