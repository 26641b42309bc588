"""Every source that needs no preparation, on good data and on each way it can be bad."""

import hashlib
import zipfile

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import fingerprint
from ibjax.data.source import from_arrays, load
from ibjax.data.sources import mnist

PUBLISHED_SHA256 = {  # of the uncompressed idx files, as published with MNIST
  "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
  "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
  "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
  "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
IDX_HEADER = {
  "train-images": "00000803 0000ea60 0000001c 0000001c",
  "t10k-images": "00000803 00002710 0000001c 0000001c",
  "train-labels": "00000801 0000ea60",
  "t10k-labels": "00000801 00002710",
}


def arrays(n=12, *, seed=0, dtype=np.float32, validation=False):
  rng = np.random.default_rng(seed)
  splits = ["train", "test"] + ["validation"] * validation
  made = {}
  for split in splits:
    made[f"x_{split}"] = (rng.random((n, 3, 2)) * 200).astype(dtype)
    made[f"y_{split}"] = np.arange(n) % 3
  return made


def save(kind, where, made):
  """Writes arrays as "npz" or "folder"; returns the spec of the source."""
  if kind == "npz":
    np.savez(where / "set.npz", **made)
    return f"npz:{where / 'set.npz'}"
  for name, array in made.items():
    np.save(where / f"{name}.npy", array)
  return f"folder:{where}"


def whole(split):
  return split.read(np.arange(split.n))


def test_mnist_is_the_published_set(tmp_path):
  source = load("mnist", tmp_path)
  assert source.x_shape == (28, 28, 1) and source.x_dtype == np.uint8
  counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
  assert np.bincount(source.train_labels).tolist() == counts
  for split, stem, n in (("train", "train", 60000), ("test", "t10k", 10000)):
    data = whole(source.splits[split])
    assert source.splits[split].n == n and data["x"].shape == (n, 28, 28, 1)
    assert data["x"].dtype == np.uint8 and data["y"].dtype == np.int32
    for axis, values in (("images", data["x"]), ("labels", data["y"].astype(np.uint8))):
      header = bytes.fromhex(IDX_HEADER[f"{stem}-{axis}"])
      found = hashlib.sha256(header + values.tobytes()).hexdigest()
      assert found == PUBLISHED_SHA256[f"{stem}-{axis}"]


def test_mnist_damaged(tmp_path, monkeypatch):
  for path in mnist.FOLDER.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  images = tmp_path / "t10k-images-idx3-ubyte.gz"
  images.write_bytes(images.read_bytes()[:-100])
  monkeypatch.setattr(mnist, "FOLDER", tmp_path)
  with pytest.raises(DataError, match=r"t10k-images.* damaged gzip.*fetch it again"):
    load("mnist", tmp_path)


def test_digits_split_is_fixed(tmp_path):
  source = load("digits", tmp_path)
  assert (source.splits["train"].n, source.splits["test"].n) == (1438, 359)
  test = whole(source.splits["test"])
  from sklearn.datasets import load_digits

  levels, labels = load_digits(return_X_y=True)
  np.testing.assert_array_equal(test["y"], labels[4::5])
  assert test["x"].dtype == np.uint8 and test["x"].max() == 255 and test["x"].min() == 0
  # 255/16 per level: 8 levels are 127.5, which rounds to even.
  np.testing.assert_allclose(test["x"].reshape(-1, 64), levels[4::5] * 255 / 16, atol=0.5)
  assert source.fingerprint == load("digits", tmp_path).fingerprint
  assert source.fingerprint.startswith("8c2ccfc7c82e6b86")


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_argument_refused(tmp_path, name):
  with pytest.raises(ConfigError, match=f"takes no argument, found '{name}:3'"):
    load(f"{name}:3", tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
def test_npz_and_folder_give_the_same(tmp_path, dtype):
  made = arrays(dtype=dtype, validation=True)
  sources = [load(save(kind, tmp_path, made), tmp_path) for kind in ("npz", "folder")]
  for split in ("train", "test", "validation"):
    one, two = (whole(source.splits[split]) for source in sources)
    np.testing.assert_array_equal(one["x"], two["x"])
    np.testing.assert_array_equal(one["x"], made[f"x_{split}"].astype(one["x"].dtype))
    np.testing.assert_array_equal(one["y"], two["y"])
    assert one["x"].dtype == two["x"].dtype == sources[0].x_dtype == sources[1].x_dtype
    assert sources[0].splits[split].nbytes == sources[1].splits[split].nbytes
    assert one["x"].nbytes + one["y"].nbytes == sources[0].splits[split].nbytes
  assert sources[0].x_dtype == (np.uint8 if dtype == np.uint8 else np.float32)


def test_folder_stays_on_disk(tmp_path, monkeypatch):
  opened = []
  load_file = np.load

  def watched(*args, **kwargs):
    opened.append(load_file(*args, **kwargs))
    return opened[-1]

  monkeypatch.setattr(np, "load", watched)
  source = load(save("folder", tmp_path, arrays()), tmp_path)
  assert opened and all(isinstance(array, np.memmap) for array in opened)
  # What is on disk later is what is read later: nothing was copied.
  changed = load_file(tmp_path / "x_train.npy", mmap_mode="r+")
  changed[5] = 77
  changed.flush()
  assert (source.splits["train"].read(np.array([5]))["x"] == 77).all()


def test_fingerprint_follows_values(tmp_path):
  for kind in ("npz", "folder"):
    made = arrays()
    before = load(save(kind, tmp_path, made), tmp_path).fingerprint
    assert load(save(kind, tmp_path, arrays()), tmp_path).fingerprint == before
    made["x_test"][3, 1, 1] += 1
    assert load(save(kind, tmp_path, made), tmp_path).fingerprint != before


def test_fingerprint_of_same_bytes():
  x, y = np.zeros((2, 3)), np.zeros(2, int)
  first = fingerprint.of_arrays({"train": (x, y)})
  assert fingerprint.of_arrays({"train": (x.reshape(3, 2), y)}) != first
  assert fingerprint.of_arrays({"test": (x, y)}) != first
  assert fingerprint.of_arrays({"train": (x.view(np.int64), y)}) != first


def test_path_relative_to_cwd_then_data_dir(tmp_path, monkeypatch):
  (tmp_path / "cwd").mkdir()
  (tmp_path / "data").mkdir()
  monkeypatch.chdir(tmp_path / "cwd")
  save("npz", tmp_path / "data", arrays(8))
  assert load("npz:set.npz", tmp_path / "data").splits["train"].n == 8
  save("npz", tmp_path / "cwd", arrays(5))
  assert load("npz:set.npz", tmp_path / "data").splits["train"].n == 5
  with pytest.raises(DataError, match=r"no .*cwd/sets.npz and no .*data/sets.npz.* mean .*set.npz"):
    load("npz:sets.npz", tmp_path / "data")
  with pytest.raises(ConfigError, match="npz:PATH"):
    load("npz", tmp_path / "data")


@pytest.mark.parametrize("kind", ["npz", "folder"])
@pytest.mark.parametrize(
  "change, message",
  [
    (lambda m: m["x_test"].__setitem__((4, 0, 0), np.nan), "test: 1 values .*row 4"),
    (lambda m: m["x_train"].__setitem__((2, 1), np.inf), "train: 2 values .*row 2"),
    (lambda m: m.update(x_train=m["x_train"] * 1e300), "too large for float32"),
    (lambda m: m["y_test"].__setitem__(7, 3), r"label 3 at row 7 is outside 0\.\.2"),
    (lambda m: m["y_train"].__setitem__(1, -1), r"label -1 at row 1"),
    (lambda m: m["y_test"].__setitem__(7, 2**32), r"label 4294967296 at row 7"),
    (lambda m: m["y_train"].__setitem__(7, 2**40), r"a value to regress on"),
    (lambda m: m.update(x_test=m["x_test"][:0], y_test=m["y_test"][:0]), "empty"),
    (lambda m: m.update(x_train=m["x_train"][:5]), r"expected y of \[5\]"),
    (lambda m: m.update(x_test=m["x_test"][:, :2]), r"\[2, 2\].*training split .*\[3, 2\]"),
    (lambda m: m.update(x_train=m["y_train"].astype(float)), r"expected \[examples"),
    (lambda m: m.update(y_test=m["y_test"][:, None] * 1.0), r"one y has shape \[1\].*shape \[\]"),
    (lambda m: m.update(y_train=m["y_train"][:, None]), r"\[12, t\] floats to regress on"),
    (lambda m: m.update(y_train=m["y_train"] * 0.5), r"floats of shape \[12, t\]: y\[:, None\]"),
    (lambda m: m.update(x_test=m["x_test"].astype(np.uint8)), "x has dtype uint8, but"),
    (lambda m: m.update(x_train=m["x_train"] > 1), "dtype bool"),
    (lambda m: m.update(y_train=m["y_train"] + 0.5), "expected integer class labels"),
    (lambda m: m.update(x_train=np.array([[object()]] * 12)), "Python objects.*never unpickles"),
    (lambda m: m.update(x_tets=m.pop("x_test")), "'x_tets.*' looks like 'x_test"),
    (lambda m: m.pop("y_test"), "has no 'y_test"),
    (lambda m: m.update(x_validation=m["x_test"]), "has no 'y_validation"),
    (lambda m: m.update(x_validatoin=m["x_test"]), "Rename it to 'x_validation"),
  ],
)
def test_bad_values(tmp_path, kind, change, message):
  made = arrays(dtype=np.float64)
  change(made)
  with pytest.raises(DataError, match=message):
    load(save(kind, tmp_path, made), tmp_path)


def targets(**changes):
  made = arrays()
  for split in ("train", "test"):
    made[f"y_{split}"] = made[f"x_{split}"].reshape(12, -1)[:, :2] * 0.1
  return {**made, **changes}


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_float_targets_are_kept_as_they_are(tmp_path, kind):
  made = targets()
  source = load(save(kind, tmp_path, made), tmp_path)
  assert (source.target_dim, source.num_classes, source.class_names) == (2, 0, ())
  assert source.target_entropy_nats is None and source.train_labels.shape == (0,)
  found = whole(source.splits["test"])["y"]
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, made["y_test"])


@pytest.mark.parametrize("kind", ["npz", "folder"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_targets_that_are_no_numbers_are_refused(tmp_path, kind, value):
  made = targets()
  made["y_train"] = made["y_train"].astype(np.float64)
  made["y_train"][[4, 7], 1] = value
  with pytest.raises(DataError, match=r"train: 2 values of y .*row 4"):
    load(save(kind, tmp_path, made), tmp_path)


def test_bad_value_far_in(tmp_path, monkeypatch):
  monkeypatch.setattr("ibjax.data.source._CHECK_VALUES", 10)  # one row at a time
  made = arrays()
  made["x_test"][[3, 9], 0, 0] = np.nan
  with pytest.raises(DataError, match=r"2 values .*row 3"):
    load(save("folder", tmp_path, made), tmp_path)


def test_npz_cut_short(tmp_path):
  spec = save("npz", tmp_path, arrays())
  path = tmp_path / "set.npz"
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(DataError, match=r"not a whole .npz file"):
    load(spec, tmp_path)


def test_npz_member_damaged(tmp_path):
  spec = save("npz", tmp_path, arrays())
  path = tmp_path / "set.npz"
  content = bytearray(path.read_bytes())
  with zipfile.ZipFile(path) as archive:
    start = archive.getinfo("x_train.npy").header_offset
  content[start + 200] ^= 255
  path.write_bytes(content)
  with pytest.raises(DataError, match="'x_train' is damaged"):
    load(spec, tmp_path)


def test_npy_cut_short(tmp_path):
  spec = save("folder", tmp_path, arrays())
  path = tmp_path / "x_train.npy"
  path.write_bytes(path.read_bytes()[:-8])
  with pytest.raises(DataError, match=r"x_train.npy is damaged or cut short"):
    load(spec, tmp_path)


def test_unknown_source_names_the_nearest(tmp_path):
  with pytest.raises(ConfigError, match="Did you mean 'mnist'"):
    load("minst", tmp_path)


def test_splits_must_be_there():
  x, y = np.zeros((2, 3)), np.zeros(2, int)
  with pytest.raises(DataError, match="has no split 'test'"):
    from_arrays("a", {"train": (x, y)}, fingerprint="")
