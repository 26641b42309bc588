"""The source of Kuzushiji-MNIST: with and without its training files, and damaged ones."""

import os
import pathlib

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.data.source import load
from tests.helpers import tiny_setup

COUNTS = {"train": 60000, "test": 10000}


def write(folder, split, n=None):
  folder.mkdir(exist_ok=True)
  n = n or COUNTS[split]
  images = np.broadcast_to((np.arange(n) % 251).astype(np.uint8)[:, None, None], (n, 28, 28))
  np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", images)
  np.savez_compressed(folder / f"kmnist-{split}-labels.npz", (np.arange(n) % 10).astype(np.uint8))


def test_a_test_split_alone_is_read_and_not_trained_on(tmp_path):
  write(tmp_path / "kmnist", "test")
  source = load("kmnist", tmp_path)
  assert list(source.splits) == ["test"] and source.x_shape == (28, 28, 1)
  found = source.splits["test"].read(np.array([3, 9999]))
  assert found["x"][:, 0, 0, 0].tolist() == [3, 9999 % 251] and found["y"].tolist() == [3, 9]
  with pytest.raises(ConfigError, match="'kmnist' has no training split here, only test"):
    tiny_setup(data_dir=tmp_path, data__source="kmnist")


def test_training_files_are_found_and_change_the_fingerprint(tmp_path):
  write(tmp_path / "a", "test")
  alone = load(f"kmnist:{tmp_path / 'a'}", tmp_path)
  write(tmp_path / "a", "train")
  source = load(f"kmnist:{tmp_path / 'a'}", tmp_path)
  assert source.splits["train"].n == 60000 and len(source.train_labels) == 60000
  assert source.fingerprint != alone.fingerprint


def test_missing_and_damaged_files_are_explained(tmp_path):
  with pytest.raises(DataError, match="Put kmnist-test-imgs.npz"):
    load("kmnist", tmp_path)
  folder = tmp_path / "kmnist"
  write(folder, "test", n=5)
  with pytest.raises(DataError, match=r"holds \[5, 28, 28\] uint8, expected \[10000, 28, 28\]"):
    load("kmnist", tmp_path)
  (folder / "kmnist-test-imgs.npz").write_bytes(b"PK\x03\x04 cut short")
  with pytest.raises(DataError, match="is damaged"):
    load("kmnist", tmp_path)
  (folder / "kmnist-test-imgs.npz").unlink()
  with pytest.raises(DataError, match="there is no .*kmnist-test-imgs.npz"):
    load("kmnist", tmp_path)


def test_the_published_set_is_balanced():
  data_dir = pathlib.Path(os.environ.get("IBJAX_DATA_DIR", "")) / "kmnist"
  if not any(path.is_dir() for path in (data_dir, data_dir.parent / "kmnist_test")):
    pytest.skip("no kmnist in $IBJAX_DATA_DIR")
  source = load("kmnist", data_dir.parent)
  labels = source.splits["test"].read(np.arange(10000))["y"]
  assert np.bincount(labels).tolist() == [1000] * 10
