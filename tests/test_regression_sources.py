"""Real tables, turned digits and incomplete windows: what is kept, dropped, scaled and refused."""

import dataclasses
import gzip
import os
import pathlib

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import tables
from ibjax.data.source import Split, load
from ibjax.data.sources import mnist
from ibjax.verbs.data import run as data_verb

REAL = pathlib.Path(os.environ.get("IBJAX_DATA_DIR", "/nonexistent"))


def needs(path):
  return pytest.mark.skipif(
    not (REAL / path).exists(), reason=f"no {path} in $IBJAX_DATA_DIR, where this set is placed"
  )


def whole(split):
  return split.read(np.arange(split.n))


def write_table(where, name, x, y, masks=None):
  """A table of UCI as it lies in the data folder."""
  (where / tables.UCI).mkdir(parents=True, exist_ok=True)
  masks = np.arange(len(y))[:, None] % 10 == np.arange(10) if masks is None else masks
  for part, values in (("data", np.column_stack([x, y])), ("test_mask", masks.astype(int))):
    with gzip.open(where / tables.UCI / f"{name}.{part}.csv.gz", "wt") as file:
      np.savetxt(file, values, delimiter=",")


def write_hours(where, pollution, start="2010-01-02"):
  """An hourly table of Beijing; every other column counts the hours."""
  path = where / tables.BEIJING
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = ["date,pollution,dew,temp,press,wnd_dir,wnd_spd,snow,rain"]
  times = np.datetime64(f"{start}T00") + np.arange(len(pollution))
  for i, (time, matter) in enumerate(zip(times, pollution)):
    lines.append(
      f"{time}:00:00,{matter},{i},{i},{i},{tables.WINDS[i % 4]},{i},0,0".replace("T", " ")
    )
  path.write_text("\n".join(lines))


def test_columns_are_scaled_by_the_training_split_alone(tmp_path):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(200, 11)) * 5 + 3
  x[:, 4] = 7.0  # constant
  y = x[:, 0] + 100.0
  write_table(tmp_path, "wine", x, y)
  source = load("regression:wine:fold=3", tmp_path)
  train, test = whole(source.splits["train"]), whole(source.splits["test"])
  assert (source.splits["train"].n, source.splits["validation"].n) == (144, 36)
  np.testing.assert_allclose(np.delete(train["x"], 4, 1).mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(np.delete(train["x"], 4, 1).std(0), 1, rtol=1e-4)
  assert not train["x"][:, 4].any() and not test["x"][:, 4].any()
  # The test rows are the mask's, in their order, and come back in their own unit.
  back = test["y"][:, 0] * source.target_scale[0] + source.target_mean[0]
  np.testing.assert_allclose(back, y[3::10], rtol=1e-5)
  everything = np.concatenate([whole(split)["y"] for split in source.splits.values()])
  np.testing.assert_allclose(
    np.sort(everything[:, 0] * source.target_scale[0] + source.target_mean[0]),
    np.sort(y),
    rtol=1e-5,
  )


def test_draws_folds_and_sizes_are_choices_that_the_fingerprint_tells(tmp_path):
  rng = np.random.default_rng(0)
  write_table(tmp_path, "wine", rng.normal(size=(60, 11)), rng.normal(size=60))
  names = ["wine", "wine:split=1", "wine:fold=1", "wine:n=20"]
  sources = {name: load(f"regression:{name}", tmp_path) for name in names}
  assert len({source.fingerprint for source in sources.values()}) == len(names)
  assert sources["wine"].fingerprint == load("regression:wine", tmp_path).fingerprint
  assert sources["wine:n=20"].splits["train"].n == 20
  first, other = (whole(sources[name].splits["validation"])["y"] for name in names[:2])
  assert not np.array_equal(first, other)


def test_columns_that_give_the_target_away_are_dropped(tmp_path):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(50, 17))
  x[:, 15] = rng.uniform(1, 2, 50)
  x[:, 16] = rng.uniform(1, 2, 50)
  write_table(tmp_path, "bike", x, np.log(x[:, 15] + x[:, 16]))
  (found, _), _ = tables.uci(
    *(tmp_path / tables.UCI / f"bike.{part}.csv.gz" for part in ("data", "test_mask")), "bike", 0
  )
  np.testing.assert_allclose(found, x[:, [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14]], rtol=1e-9)


@needs("uci_regression/bike.data.csv.gz")
def test_bike_dropped_columns_do_leak_and_the_kept_ones_do_not():
  path = REAL / tables.UCI / "bike.data.csv.gz"
  with gzip.open(path, "rt") as file:
    raw = np.loadtxt(file, delimiter=",")
  counts = raw[:, 15:17] - raw[:, 15:17].min(0)  # both are 0 in some hour
  np.testing.assert_allclose(
    np.exp(raw[:, -1] - raw[0, -1]), counts.sum(1) / counts[0].sum(), rtol=2e-4
  )
  train = whole(load("regression:bike", REAL).splits["train"])
  assert train["x"].shape[1] == 13
  weights = np.linalg.lstsq(train["x"], train["y"], rcond=None)[0]
  assert np.mean((train["x"] @ weights - train["y"]) ** 2) > 0.3


@needs("california_housing")
def test_california_without_the_capped_districts_in_logarithms():
  source = load("regression:california", REAL)
  assert [source.splits[s].n for s in ("train", "validation", "test")] == [12574, 3144, 3930]
  values = [
    whole(s)["y"] * source.target_scale[0] + source.target_mean[0] for s in source.splits.values()
  ]
  assert np.concatenate(values).max() < np.log(5)
  plain = load("regression:california:capped=1,log=0", REAL)
  assert sum(split.n for split in plain.splits.values()) == 20640
  top = max(whole(s)["y"].max() for s in plain.splits.values()) * plain.target_scale[0]
  np.testing.assert_allclose(top + plain.target_mean[0], 5.00001, rtol=1e-5)


def test_hours_that_were_not_measured_are_no_examples(tmp_path):
  write_hours(tmp_path, [0, 10, 20, 0, 30, 40, 50, 60, 70, 80, 90, 100] * 2)
  source = load("regression:beijing", tmp_path)
  assert sum(split.n for split in source.splits.values()) == 20 and source.x_shape == (14,)
  assert np.isnan(tables.beijing(tmp_path / tables.BEIJING)["pm25"]).sum() == 4


@needs("beijing_pm25")
def test_beijing_as_placed():
  source = load("regression:beijing", REAL)
  assert sum(split.n for split in source.splits.values()) == 43800 - 2045


def test_a_window_is_followed_by_its_targets_and_misses_what_was_taken(tmp_path):
  pollution = 100 + np.arange(400)
  pollution[50] = pollution[330] = 0
  write_hours(tmp_path, pollution)
  source = load("beijing_windows:missing=0,length=6,horizon=3", tmp_path)
  assert source.x_shape == (6, 7) and source.target_dim == 3
  borders = {"train": (0, 280), "validation": (280, 320), "test": (320, 400)}
  for split, (low, high) in borders.items():
    data = whole(source.splits[split])
    matter = np.rint(data["y"] * source.target_scale[0] + source.target_mean[0])
    gap = {"train": 50, "test": 330}.get(split, -99)
    starts = [s for s in range(low, high - 8) if not s + 6 <= gap <= s + 8]
    np.testing.assert_array_equal(matter, 106 + np.array(starts)[:, None] + np.arange(3))
    # Dew counts the hours: the window is the six hours before; what was not measured is 0.
    hours = (data["x"][:, :, 1] - data["x"][0, 0, 1]) / (data["x"][0, 1, 1] - data["x"][0, 0, 1])
    np.testing.assert_allclose(hours, np.array(starts)[:, None] - low + np.arange(6), atol=1e-3)
    missing = np.array(starts)[:, None] + np.arange(6) == gap
    np.testing.assert_array_equal(data["x"][:, :, 0][missing], 0.0)
  half = load("beijing_windows:missing=0.5,length=6,horizon=3", tmp_path)
  x, full = whole(half.splits["train"])["x"], whole(source.splits["train"])["x"]
  gone = x != full
  assert not x[gone].any() and abs(gone[:, :, :5].mean() - 0.5) < 0.05
  np.testing.assert_array_equal(x[1, :5], x[0, 1:])  # one hour later, the same values are gone
  np.testing.assert_array_equal(
    whole(half.splits["train"])["y"], whole(source.splits["train"])["y"]
  )


def test_digits_are_turned_by_their_targets(monkeypatch, tmp_path):
  def read(rows):  # a bar from the middle to the right, as bright as its place in the set says
    x = np.zeros((len(rows), 28, 28, 1), np.uint8)
    x[:, 13:15, 14:26] = np.where(rows < 50_000, 100, 200)[:, None, None, None]
    return {"x": x}

  fake = dataclasses.replace(
    mnist.load("", tmp_path), splits={s: Split(60_000, read, 0) for s in ("train", "test")}
  )
  monkeypatch.setattr(mnist, "load", lambda argument, data_dir: fake)
  source = load("rotated_mnist:n=40,n_validation=20,n_test=20,angle=80", tmp_path)
  down, right = np.mgrid[:28, :28] - 13.5
  for split, bright in (("train", 100), ("validation", 200)):
    data = whole(source.splits[split])
    assert data["x"].dtype == np.uint8
    np.testing.assert_allclose(data["x"].max(axis=(1, 2, 3)), bright, rtol=0.1)
    degrees = data["y"][:, 0] * source.target_scale[0] + source.target_mean[0]
    assert degrees.min() < -40 and degrees.max() > 40 and np.abs(degrees).max() <= 80
    weight = data["x"][..., 0] / data["x"].sum(axis=(1, 2, 3))[:, None, None]
    up, across = -(weight * down).sum((1, 2)), (weight * right).sum((1, 2))
    np.testing.assert_allclose(np.degrees(np.arctan2(up, across)), degrees, atol=1.0)


@pytest.mark.parametrize(
  ("name", "error", "message"),
  [
    ("regression:bikes", ConfigError, "Did you mean 'bike'"),
    ("regression:bike:folds=1", ConfigError, "Did you mean 'fold'"),
    ("regression:bike:fold=10", ConfigError, r"fold=10 must be finite and in \[0, 9\]"),
    ("regression:california:split=a", ConfigError, "split='a' is not a whole number"),
    ("regression:california", DataError, "california_housing.npz.*Place it there.*IBJAX_DATA_DIR"),
    ("regression:bike", DataError, "bike.data.csv.gz.*uci_datasets/bike"),
    ("regression:beijing", DataError, "beijing_pm25.*UCI data set 381"),
    ("beijing_windows", DataError, "beijing_pm25.*Place it there"),
    ("beijing_windows:missing=1.0", ConfigError, r"missing=1 must be finite and in \[0.0, 0.95\]"),
    ("rotated_mnist:n=60000", ConfigError, r"n=60000 must be finite and in \[2, 50000\]"),
  ],
)
def test_refused_and_absent(tmp_path, name, error, message):
  with pytest.raises(error, match=message):
    load(name, tmp_path)


def test_damaged_files_say_so(tmp_path):
  rng = np.random.default_rng(0)
  write_table(tmp_path, "wine", rng.normal(size=(30, 9)), rng.normal(size=30))
  with pytest.raises(DataError, match=r"shape \[30, 10\], expected 12 columns"):
    load("regression:wine", tmp_path)
  write_table(tmp_path, "wine", rng.normal(size=(30, 11)), rng.normal(size=30), np.zeros((30, 9)))
  with pytest.raises(DataError, match=r"test_mask.*expected 0 and 1 of \[30, 10\]"):
    load("regression:wine", tmp_path)
  write_table(tmp_path, "wine", rng.normal(size=(30, 11)), np.ones(30))
  with pytest.raises(DataError, match="target is constant"):
    load("regression:wine", tmp_path)
  path = tmp_path / tables.UCI / "wine.data.csv.gz"
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(DataError, match="damaged"):
    load("regression:wine", tmp_path)
  (tmp_path / tables.CALIFORNIA).parent.mkdir()
  np.savez(tmp_path / tables.CALIFORNIA, x=np.ones((5, 7)), y=np.ones(5))
  with pytest.raises(DataError, match=r"x has shape \[5, 7\]"):
    load("regression:california", tmp_path)
  write_hours(tmp_path, [10.0] * 30)
  hours = (tmp_path / tables.BEIJING).read_text().splitlines()
  (tmp_path / tables.BEIJING).write_text("\n".join(hours[:10] + hours[11:]))
  with pytest.raises(DataError, match="do not follow each other"):
    load("regression:beijing", tmp_path)


def test_a_step_of_the_target_is_told(tmp_path, capsys):
  data_verb(["info", "rotated_mnist:n=20,n_validation=5,n_test=5", "--data_dir", str(tmp_path)])
  assert "(degrees)" in capsys.readouterr().out
