"""Sources with wrong training labels: how many, which, and what stays as it was."""

import numpy as np
import pytest

from ibjax.core.errors import ConfigError
from ibjax.data.source import load
from ibjax.data.sources import noisy


def labels(spec, tmp_path, split="train"):
  source = load(spec, tmp_path)
  return source.splits[split].read(np.arange(source.splits[split].n))["y"]


@pytest.mark.parametrize(
  "kind, wrong", [("symmetric", 0.4), ("uniform", 0.4 * 0.9), ("asymmetric", 0.4 * 0.5)]
)
def test_share_of_wrong_labels(kind, wrong, tmp_path):
  true = labels("mnist", tmp_path)
  found = labels(f"noisy:{kind},rate=0.4,seed=3:mnist", tmp_path)
  # Digits 2, 3, 5, 6 and 7 are half of MNIST to within 1%.
  assert np.mean(found != true) == pytest.approx(wrong, abs=0.01)
  assert found.dtype == np.int32 and set(np.unique(found)) == set(range(10))


def test_symmetric_noise_prefers_no_class(tmp_path):
  true = labels("mnist", tmp_path)
  found = labels("noisy:symmetric,rate=1:mnist", tmp_path)
  assert (found != true).all()
  table = np.zeros((10, 10))
  np.add.at(table, (true, found), 1)
  off_diagonal = (table / table.sum(1, keepdims=True))[~np.eye(10, dtype=bool)]
  np.testing.assert_allclose(off_diagonal, 1 / 9, atol=0.02)


def test_asymmetric_noise_goes_along_the_pairs(tmp_path):
  true = labels("digits", tmp_path)
  found = labels("noisy:asymmetric,rate=1:digits", tmp_path)
  expected = {**{label: label for label in range(10)}, 7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
  assert found.tolist() == [expected[label] for label in true.tolist()]


def test_a_set_without_known_pairs_takes_the_next_class(tmp_path):
  x = np.zeros((6, 2), np.float32)
  y = np.arange(6) % 3
  np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
  assert labels("noisy:asymmetric,rate=1:npz:a.npz", tmp_path).tolist() == [1, 2, 0, 1, 2, 0]


def test_reproducible_and_nested_in_the_rate(tmp_path):
  true = labels("digits", tmp_path)
  low, high, again, other = (
    labels(f"noisy:symmetric,{keys}:digits", tmp_path)
    for keys in ("rate=0.2,seed=1", "rate=0.5,seed=1", "rate=0.5,seed=1", "rate=0.5,seed=2")
  )
  np.testing.assert_array_equal(high, again)
  assert (high != other).any()
  np.testing.assert_array_equal(low[low != true], high[low != true])


def test_only_training_labels_change(tmp_path):
  clean, source = load("digits", tmp_path), load("noisy:symmetric,rate=0.5:digits", tmp_path)
  rows = np.array([5, 0, 700])
  got, was = source.splits["train"].read(rows), clean.splits["train"].read(rows)
  assert set(got) == {"x", "y"}
  np.testing.assert_array_equal(got["x"], was["x"])
  np.testing.assert_array_equal(got["y"], source.train_labels[rows])
  np.testing.assert_array_equal(
    labels("noisy:symmetric,rate=0.5:digits", tmp_path, "test"), labels("digits", tmp_path, "test")
  )


def test_fingerprint_says_which_labels(tmp_path):
  specs = ("digits", "noisy:symmetric,rate=0.5:digits", "noisy:symmetric,rate=0.5,seed=1:digits")
  assert len({load(spec, tmp_path).fingerprint for spec in specs}) == 3


def test_own_validation_split_only_when_asked(tmp_path):
  x, y = np.zeros((50, 2), np.float32), np.arange(50) % 5
  arrays = {
    f"{axis}_{split}": {"x": x, "y": y}[axis]
    for split in ("train", "test", "validation")
    for axis in "xy"
  }
  np.savez(tmp_path / "a.npz", **arrays)
  kept = labels("noisy:symmetric,rate=1:npz:a.npz", tmp_path, "validation")
  changed = labels("noisy:symmetric,rate=1,validation=1:npz:a.npz", tmp_path, "validation")
  assert (kept == y).all() and (changed != y).all()


@pytest.mark.parametrize(
  "argument, message",
  [
    ("symetric:mnist", "Did you mean 'symmetric'"),
    ("symmetric,rate=0.4", "names no source"),
    ("symmetric,rate=1.4:mnist", r"in \[0.0, 1.0\]"),
    ("symmetric,rate=x:mnist", "is not a number"),
    ("symmetric,seed=0.5:mnist", "is not a whole number"),
    ("symmetric,rat=0.4:mnist", "Did you mean 'rate'"),
    ("symmetric:toy:sine", "real-valued targets"),
  ],
)
def test_bad_arguments_are_explained(argument, message, tmp_path):
  with pytest.raises(ConfigError, match=message):
    noisy.load(argument, tmp_path)
