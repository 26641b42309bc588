"""Any labelled source with wrong training labels: noisy:symmetric,rate=0.4,seed=0:mnist."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint, options
from ibjax.data import source as source_lib
from ibjax.data.source import Source, Split

KINDS = ("symmetric", "uniform", "asymmetric")
DEFAULTS: dict[str, float] = {"rate": 0.2, "seed": 0, "validation": 0}

# class -> the class it is mistaken for. The digits' are those of Patrini et al. 2017; the
# garments' are their likes by shape: boot -> sneaker -> sandal, pullover -> shirt, coat <-> dress.
DIGIT_PAIRS = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
GARMENT_PAIRS = {9: 7, 7: 5, 2: 6, 4: 3, 3: 4}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens another source and makes some of its training labels wrong.

  "symmetric" gives a label, with probability `rate`, to another class, each as likely;
  "uniform" draws it anew among all classes, the true one too, so that rate (1 - 1/c) of the
  labels are wrong; "asymmetric" gives it to the class it is taken for: in digits 7 -> 1, 2 -> 7,
  5 <-> 6 and 3 -> 8, in Fashion-MNIST boot -> sneaker -> sandal, pullover -> shirt and coat <->
  dress (the classes that are not named stay right), and in any other set the next class.

  A larger rate of the same seed keeps the wrong labels of a smaller one. The test labels stay as
  they are. A validation split that config.data.validation holds out is cut from the training
  split, so its labels are as wrong; one that the source has of its own stays right unless
  validation=1. The true labels are nowhere in the result.

  Args:
    argument: "KIND,key=value,...:SOURCE" with keys rate in [0, 1], seed, and validation (0 or 1).
    data_dir: where prepared sets live.

  Returns:
    A `Source` that differs from the inner one in its labels, name and fingerprint.

  Raises:
    ConfigError: no inner source, an unknown kind or key, a value out of range, or a source of
      real-valued targets.
    DataError: what the inner source raises.

  Example:
    source = load("symmetric,rate=0.4,seed=0:mnist", default_data_dir())

  Source: Patrini et al. 2017 (arXiv:1609.03683; asymmetric noise of MNIST); Han et al.
  2018 (arXiv:1804.06872; symmetric, and the next class as "pair" noise).
  """
  kind, values, inner = _parse(argument)
  clean = source_lib.load(inner, data_dir)
  if clean.target_dim:
    raise ConfigError(
      f"noisy:{argument}: '{inner}' has real-valued targets, and the wrong labels are of classes. "
      "Name a source of classes."
    )
  pairs = _pairs(clean)
  wrong = {"train": _corrupt(clean.train_labels, clean.num_classes, kind, values, pairs, stream=0)}
  splits = dict(clean.splits)
  if values["validation"] and "validation" in splits:
    true = splits["validation"].read(np.arange(splits["validation"].n))["y"]
    wrong["validation"] = _corrupt(true, clean.num_classes, kind, values, pairs, stream=1)
  for name, labels in wrong.items():
    splits[name] = _relabel(splits[name], labels)
  hashes = {name: hashlib.sha256(labels.tobytes()).hexdigest() for name, labels in wrong.items()}
  return dataclasses.replace(
    clean,
    name=f"noisy:{argument}",
    splits=splits,
    fingerprint=fingerprint.combine({"noisy": "1", "inner": clean.fingerprint, **hashes}),
    train_labels=wrong["train"],
  )


def _parse(argument: str) -> tuple[str, dict[str, float], str]:
  head, _, inner = argument.partition(":")
  kind, *items = head.split(",")
  example = "Write e.g. noisy:symmetric,rate=0.4,seed=0:mnist."
  if kind not in KINDS:
    raise ConfigError(unknown("kind of label noise", kind, KINDS, example))
  if not inner:
    raise ConfigError(f"noisy:{argument} names no source to make noisy. {example}")
  values = options.parse(f"noisy:{kind}", ",".join(items), DEFAULTS)
  limits = {"rate": (0.0, 1.0), "seed": (0, np.inf), "validation": (0, 1)}
  options.check_range(f"noisy:{kind}", values, limits)
  return kind, values, inner


def _pairs(source: Source) -> Mapping[int, int]:
  if source.num_classes == 10 and source.name.partition(":")[0] in ("mnist", "digits"):
    return DIGIT_PAIRS
  if source.num_classes == 10 and "fashion" in source.name:
    return GARMENT_PAIRS
  return {label: (label + 1) % source.num_classes for label in range(source.num_classes)}


def _corrupt(
  labels: np.ndarray,
  classes: int,
  kind: str,
  values: Mapping[str, float],
  pairs: Mapping[int, int],
  stream: int,
) -> np.ndarray:
  rng = np.random.default_rng([int(values["seed"]), stream])
  # One number a label, whatever the rate: so the wrong labels of a rate are among those of a
  # larger one.
  chosen = rng.random(len(labels)) < values["rate"]
  if kind == "symmetric":
    other = (labels + rng.integers(1, max(2, classes), len(labels))) % classes
  elif kind == "uniform":
    other = rng.integers(0, classes, len(labels))
  else:
    table = np.arange(classes)
    table[list(pairs)] = list(pairs.values())
    other = table[labels]
  return np.where(chosen, other, labels).astype(np.int32)


def _relabel(split: Split, labels: np.ndarray) -> Split:
  return dataclasses.replace(
    split, read=lambda indices: {**split.read(indices), "y": labels[indices]}
  )
