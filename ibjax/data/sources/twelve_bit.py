"""All 4096 words of 12 bits with a rotation-symmetric label: twelve_bit:split=shuffled,seed=0."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays
from ibjax.data.synthetic import twelve_bit

SPLITS = ("shuffled", "contiguous")
_TRAIN = 3277  # 80% of 4096, as the original split has it


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Makes the data set of Shwartz-Ziv and Tishby 2017, with one of two splits.

  "shuffled" draws the training words at random. "contiguous" is the split of the code published
  with the paper, which takes the words in counting order: the training split is the first 80%,
  and the test split the last 819 words. These all begin with the bits 11, of which training has
  seen no more than the part that begins 1100; and the rule favours many set bits, so 83.6% of
  the test words are positive against 43.7% of the training words. A test accuracy there measures
  how a network extrapolates to another distribution, and chance is 83.6%: it cannot be read as
  generalisation, nor be compared with one of the shuffled split, where both are near 51.7%.

  Args:
    argument: "" or "split=shuffled,seed=0" (the default), or "split=contiguous".
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of float32 words [n, 12] of zeros and ones and two classes, with splits "train"
    (3277 words), "test" (819), and "all" (4096, in counting order), on which information is
    measured: I(X;Y) = H(Y) = 0.99916 bits over all words.

  Raises:
    ConfigError: an unknown key or value.
  """
  del data_dir
  values = {"split": "shuffled", "seed": "0"}
  for item in filter(None, argument.split(",")):
    key, _, value = item.partition("=")
    if key not in values:
      raise ConfigError(unknown("key of source 'twelve_bit'", key, values, "Write split=shuffled."))
    values[key] = value
  if values["split"] not in SPLITS:
    raise ConfigError(unknown("split of source 'twelve_bit'", values["split"], SPLITS))
  if not values["seed"].isdecimal():
    raise ConfigError(f"twelve_bit: seed={values['seed']!r}, expected a whole number, at least 0.")
  x, y = twelve_bit.words().astype(np.float32), twelve_bit.labels()
  order = np.arange(len(y))
  if values["split"] == "shuffled":
    order = np.random.default_rng(int(values["seed"])).permutation(order)
  train, test = order[:_TRAIN], order[_TRAIN:]
  splits = {"train": (x[train], y[train]), "test": (x[test], y[test]), "all": (x, y)}
  return from_arrays(
    f"twelve_bit:{argument}" if argument else "twelve_bit",
    splits,
    fingerprint=fingerprint.of_arrays(splits),
    num_classes=2,
    information_nats=twelve_bit.twelve_bit().nats,
  )
