"""The truth table of a Boolean circuit of ten inputs, four of them not connected: circuit."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.core.numerics import NATS_PER_BIT
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays

INPUTS = 10


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Makes the table y = (x0 OR (x1 AND x2)) XOR (x3 AND x4 AND x5) of all 1024 words.

  Inputs 6 to 9 change nothing. The most informative input is x0, then x1 and x2 alike, then x3, x4
  and x5 alike. The whole table is both splits: what is learned is the distribution, uniform over
  words, and nothing is left to generalise to.

  Args:
    argument: must be empty: there is one circuit.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of float32 words [1024, 10] of -1 and 1 and two classes; I(X;Y) = H(Y).

  Raises:
    ConfigError: an argument was given.
  """
  del data_dir
  if argument:
    raise ConfigError(f"source 'circuit' takes no argument, found 'circuit:{argument}'.")
  bits = (np.arange(2**INPUTS)[:, None] >> np.arange(INPUTS - 1, -1, -1)) & 1
  y = (bits[:, 0] | (bits[:, 1] & bits[:, 2])) ^ (bits[:, 3] & bits[:, 4] & bits[:, 5])
  table = ((2 * bits - 1).astype(np.float32), y.astype(np.int32))
  splits = {"train": table, "test": table}
  p = y.mean()
  return from_arrays(
    "circuit",
    splits,
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=2,
    information_nats=float(-p * np.log2(p) - (1 - p) * np.log2(1 - p)) * NATS_PER_BIT,
  )
