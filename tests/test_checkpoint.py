"""Checkpoints: what comes back is what went in, on any devices, or it is not used."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core.errors import CheckpointError, ConfigError
from ibjax.train import loop, records
from ibjax.train.checkpoint import Checkpoints, digest
from ibjax.train.mesh import make_mesh
from tests.helpers import ROOT, environment, final_state, same, tiny_setup, train

SHORT = dict(train__duration="30 steps", checkpoint__every="10 steps")


def files(folder):
  return sorted(
    (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size, reverse=True
  )


def opened(folder, **options):
  said = []
  keeper = Checkpoints(folder / "checkpoints", keep=2, best="", report=said.append, **options)
  return keeper, said


def test_the_newest_are_kept_and_come_back_whole(tmp_path):
  setup = tiny_setup(**SHORT)
  state = final_state(setup, tmp_path)
  keeper, _ = opened(tmp_path)
  assert keeper.steps() == [20, 30]
  step, restored = keeper.restore(setup.abstract)
  assert step == 30
  assert same(state, jax.device_get(restored))
  with pytest.raises(CheckpointError, match="no checkpoint of step 10"):
    keeper.restore(setup.abstract, 10)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("which", [0, "manifest.ocdbt", "_METADATA"])
def test_a_damaged_newest_is_reported_and_the_one_before_is_used(tmp_path, damage, which):
  setup = tiny_setup(**SHORT)
  straight = train(setup, tmp_path)
  newest = tmp_path / "checkpoints" / "30" / "state"
  found = files(newest)
  path = found[0] if which == 0 else next(p for p in found if p.name == which)
  content = bytearray(path.read_bytes())
  if damage == "flip":
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
  elif damage == "truncate":
    path.write_bytes(content[: len(content) // 2])
  else:
    path.unlink()
  keeper, said = opened(tmp_path)
  step, _ = keeper.restore(setup.abstract, set_aside=True)
  keeper.close()
  if step == 30:  # the file does not matter for what is read: then nothing is lost
    assert not said
    assert damage == "flip" or which != 0
    return
  assert step == 20
  assert "step 30" in said[0] and "skipped" in said[0]
  # The run goes on from there, saves step 30 again, and ends as it would have.
  assert train(setup, tmp_path) == straight
  assert (tmp_path / "checkpoints-damaged" / "30").is_dir()
  keeper, said = opened(tmp_path)
  assert keeper.restore(setup.abstract)[0] == 30 and not said


def test_all_damaged_is_an_error_that_says_what_to_do(tmp_path):
  setup = tiny_setup(**SHORT)
  train(setup, tmp_path)
  for step in ("20", "30"):
    path = files(tmp_path / "checkpoints" / step / "state")[0]
    path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(CheckpointError, match="Delete that folder to start over"):
    train(setup, tmp_path)


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path):
  train(tiny_setup(**SHORT), tmp_path)
  other = tiny_setup(**SHORT, bottleneck__dim=5)
  with pytest.raises(CheckpointError, match="belongs to another model: .*kernel"):
    train(other, tmp_path)


@pytest.mark.parametrize(("first", "then"), [(8, 1), (1, 8), (8, 2)])
def test_a_checkpoint_opens_on_any_number_of_devices(tmp_path, first, then):
  straight = train(tiny_setup(1, **SHORT), tmp_path / "straight")
  half = tiny_setup(first, **SHORT)
  stop_at(half, tmp_path, 20)
  resumed = train(tiny_setup(then, **SHORT), tmp_path)
  assert [line["step"] for line in resumed] == [line["step"] for line in straight]
  for a, b in zip(straight, resumed):
    for name in a:
      if isinstance(a[name], float):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)


def stop_at(setup, workdir, step):
  """Trains to the end and takes away what came after a step, as if killed there."""
  train(setup, workdir)
  keeper = workdir / "checkpoints"
  for folder in keeper.iterdir():
    if folder.name.isdigit() and int(folder.name) > step:
      import shutil

      shutil.rmtree(folder)
  assert (keeper / str(step)).exists()


def test_the_digest_sees_every_bit_and_no_sharding():
  mesh = make_mesh({"population": 1, "data": 4, "model": 2}, jax.devices())
  x = jax.random.normal(jax.random.key(0), (8, 6))
  sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", "model")))
  assert np.array_equal(jax.jit(digest)([x]), jax.jit(digest)([sharded]))
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  for place in ((0, 0), (7, 5)):
    flipped = jax.lax.bitcast_convert_type(bits.at[place].set(bits[place] ^ 1), jnp.float32)
    assert not np.array_equal(digest([x]), digest([flipped]))
  assert not np.array_equal(digest([x]), digest([x.T.reshape(8, 6)]))


def test_the_best_by_validation_is_kept_and_reported(tmp_path):
  overrides = dict(
    data__validation=100,
    checkpoint__best="err_frac",
    checkpoint__keep=1,
    train__duration="60 steps",
    eval__every="10 steps",
    checkpoint__every="10 steps",
    optimizer__learning_rate=0.02,
  )
  setup = tiny_setup(**overrides)
  workdir = tmp_path / "run"
  workdir.mkdir()
  _, lines, timing = loop.train(setup, workdir)
  lines.close()
  written = records.read_lines(workdir / "metrics.jsonl")
  curve = [line for line in written if line["split"] == "validation"]
  best = min(line["err_frac"] for line in curve)
  chosen = [line["step"] for line in curve if line["err_frac"] == best]
  assert timing["step"] in chosen
  assert lines.last["validation"]["err_frac"] == best
  test = {line["step"]: line for line in written if line["split"] == "test"}
  np.testing.assert_allclose(lines.last["test"]["err_frac"], test[timing["step"]]["err_frac"])


def test_selection_by_test_data_is_not_offered():
  with pytest.raises(ConfigError, match="selects by validation data"):
    tiny_setup(checkpoint__best="err_frac")


def test_validation_rows_are_never_trained_or_tested_on():
  setup = tiny_setup(data__validation=100)
  read = lambda name: setup.splits[name].read(np.arange(setup.splits[name].n))["x"]
  rows = {name: {x.tobytes() for x in read(name)} for name in ("train", "validation", "test")}
  whole = {x.tobytes() for x in tiny_setup().splits["train"].read(np.arange(1438))["x"]}
  assert setup.splits["validation"].n == 100 and setup.splits["train"].n == 1338
  assert rows["train"] | rows["validation"] == whole
  assert len(rows["train"] & rows["validation"]) <= 2  # a few images of the set are duplicates


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint_usable(tmp_path):
  # No file may grow past the limit, which is what a full disk does to the largest one.
  program = (
    "import resource, sys; from ibjax.main import main; from ibjax.train import checkpoint\n"
    "save = checkpoint.Checkpoints.save\n"
    "def limited(self, step, *rest, **named):\n"
    "  if step == 30: self.wait(); resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    "  return save(self, step, *rest, **named)\n"
    "checkpoint.Checkpoints.save = limited\n"
    "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "sys.exit(main(sys.argv[1:]))"
  )
  arguments = [
    "train",
    "--config=configs/variational/vib_mnist.py:smoke",
    f"--workdir={tmp_path}",
    "--config.train.duration=50 steps",
    "--config.checkpoint.every=10 steps",
  ]
  done = subprocess.run(
    [sys.executable, "-c", program, *arguments],
    env=environment(),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 2, done.stderr
  assert "could not be written" in done.stderr and "last good one is of step 20" in done.stderr
  # Not always the last line: threads of Orbax that outlive the run may still complain after it.
  assert done.stderr.count("\nerror: a checkpoint could not be written") == 1
  again = subprocess.run(
    [sys.executable, "-m", "ibjax.main", *arguments],
    env=environment(),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert again.returncode == 0, again.stderr
  assert "continuing from the checkpoint of step 20" in again.stderr
  assert json.loads((tmp_path / "result.json").read_text())["step"] == 50


def test_a_flipped_bit_never_comes_back_as_another_value(tmp_path):
  setup = tiny_setup(**SHORT)
  state = final_state(setup, tmp_path)
  path = files(tmp_path / "checkpoints" / "30" / "state")[0]
  content = path.read_bytes()
  keeper, said = opened(tmp_path, read_only=True)
  for place in np.linspace(0, len(content) - 1, 24).astype(int):
    damaged = bytearray(content)
    damaged[place] ^= 4
    path.write_bytes(damaged)
    step, restored = keeper.restore(setup.abstract)
    assert step == 20 or same(state, jax.device_get(restored)), f"byte {place}"
  # Most of the file holds values, which only the digest watches over.
  assert sum("read back with other values" in line for line in said) >= 12
