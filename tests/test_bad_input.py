"""Bad input: a clear error before training starts, and nothing already saved is harmed."""

import os
import pathlib

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError, IbjaxError, WorkdirError
from ibjax.train import records
from ibjax.train.setup import build
from tests.helpers import VIB, flags, ibjax, tiny, tiny_setup


def npz(folder, **changes):
  rng = np.random.default_rng(0)
  values = {
    "x_train": rng.normal(size=(96, 5)).astype(np.float32),
    "y_train": np.arange(96) % 3,
    "x_test": rng.normal(size=(32, 5)).astype(np.float32),
    "y_test": np.arange(32) % 3,
  }
  path = folder / "set.npz"
  np.savez(path, **{**values, **changes})
  return f"npz:{path}"


def on(source, **overrides):
  return build(tiny(data__source=source, data__batch_size=32, **overrides))


def test_a_sound_set_is_taken(tmp_path):
  assert on(npz(tmp_path)).spec.num_classes == 3


def test_nan_in_data(tmp_path):
  x = np.zeros((96, 5), np.float32)
  x[17, 2] = np.nan
  with pytest.raises(DataError, match="row 17"):
    on(npz(tmp_path, x_train=x))


def test_labels_outside_the_range(tmp_path):
  with pytest.raises(DataError, match="label 7 at row 3"):
    on(npz(tmp_path, y_test=np.where(np.arange(32) == 3, 7, 0)))


def test_an_empty_set(tmp_path):
  with pytest.raises(DataError, match="empty"):
    on(npz(tmp_path, x_train=np.zeros((0, 5), np.float32), y_train=np.zeros(0, int)))


def test_shapes_that_do_not_fit(tmp_path):
  with pytest.raises(DataError, match="shape"):
    on(npz(tmp_path, x_test=np.zeros((32, 6), np.float32)))


def test_an_npz_with_pickled_objects_is_never_unpickled(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (pathlib.Path.touch, (tmp_path / "exploded",))

  with pytest.raises(DataError, match="pickle"):
    on(npz(tmp_path, x_train=np.array([Bomb()], dtype=object)))
  assert not (tmp_path / "exploded").exists()


def test_a_batch_larger_than_the_set(tmp_path):
  with pytest.raises(ConfigError, match=r"batch_size=104 .*96 examples.*use 96 or less"):
    build(tiny(data__source=npz(tmp_path), data__batch_size=104))


def test_a_batch_that_does_not_divide_names_the_numbers_that_would():
  with pytest.raises(ConfigError, match="56 or 64 would work"):
    tiny_setup(8, data__batch_size=60)


def test_a_mesh_that_does_not_fit_the_devices():
  with pytest.raises(ConfigError, match="8 devices"):
    tiny_setup(8, mesh__data=3)


def test_a_sharding_rule_that_does_not_fit():
  with pytest.raises(ConfigError, match="unknown mesh axis 'modle'"):
    tiny_setup(8, sharding=((r"dense_0/kernel$", ("modle",)),))
  with pytest.raises(ConfigError, match="no regular expression"):
    tiny_setup(8, sharding=(("(", ()),))


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (dict(train__ema=1.5), "config.train.ema=1.5"),
    (dict(train__clip_norm=-1.0), "clip_norm"),
    (dict(train__accumulate=0), "accumulate=0 must be at least 1"),
    (dict(train__duration="0.001 steps", eval__every="0 steps"), "less than one step"),
    (dict(objective__beta=float("nan")), "not a finite number"),
    (dict(objective__beta=-1.0), "beta is -1"),
    (dict(bottleneck__prior="standart"), "Did you mean 'standard'"),
    (dict(train__compute_dtype="bfloat"), "Did you mean 'bfloat16'"),
    (dict(encoder__hidden=(0,)), "width is 0"),
    (dict(seed=-1), "config.seed"),
    (dict(data__placement="disk"), "placement"),
    (dict(batch_scope="devise"), "batch_scope"),
    (dict(program="ibjax.programs.supervised:supervise"), "Did you mean 'supervised'"),
    (dict(optimizer__fn="optax:adm"), "Did you mean 'adam'"),
  ],
)
def test_values_that_make_no_sense(overrides, message):
  with pytest.raises(ConfigError) as error:
    tiny_setup(**overrides)
  assert message in str(error.value)


def test_vib_without_a_rate_says_which_bottleneck_to_use():
  with pytest.raises(IbjaxError, match="gaussian:gaussian"):
    config = tiny()
    config["bottleneck"] = {"fn": "ibjax.bottlenecks.identity:identity", "dim": 4}
    build(config)


def test_a_workdir_that_is_a_file(tmp_path):
  (tmp_path / "file").write_text("mine")
  done = ibjax("train", *flags(f"{VIB}:smoke", tmp_path / "file"))
  assert done.returncode == 2 and "is a file" in done.stderr
  assert (tmp_path / "file").read_text() == "mine"


def test_a_workdir_that_cannot_be_written(tmp_path, monkeypatch):
  if os.geteuid() == 0:  # root may write anywhere: a name below a file cannot be made by anyone
    (tmp_path / "file").write_text("")
    workdir = tmp_path / "file" / "run"
  else:
    workdir = tmp_path / "run"
    tmp_path.chmod(0o500)
  with pytest.raises(WorkdirError, match="cannot be written"):
    records.prepare_workdir(workdir)


def test_a_foreign_checkpoint_in_the_workdir(tmp_path):
  (tmp_path / "checkpoints" / "100").mkdir(parents=True)
  (tmp_path / "checkpoints" / "100" / "model.bin").write_text("theirs")
  done = ibjax("train", *flags(f"{VIB}:smoke", tmp_path))
  assert done.returncode == 2 and "no manifest.json beside it" in done.stderr
  assert (tmp_path / "checkpoints" / "100" / "model.bin").read_text() == "theirs"


def test_a_foreign_manifest_in_the_workdir(tmp_path):
  (tmp_path / "manifest.json").write_text('{"name": "an extension of a browser"}')
  done = ibjax("train", *flags(f"{VIB}:smoke", tmp_path))
  assert done.returncode == 2 and "is not a manifest of ibjax" in done.stderr


def test_a_missing_set_says_at_once_how_to_get_it(tmp_path):
  with pytest.raises(DataError, match="ibjax data prepare tfds:fashion_mnist:3.0.1"):
    build(tiny(data__source="tfds:fashion_mnist:3.0.1"), tmp_path)


def test_processes_need_a_coordinator():
  done = ibjax("train", f"--config={VIB}:smoke", "--dry_run", "--num_processes=2")
  assert done.returncode == 2 and "--coordinator" in done.stderr
