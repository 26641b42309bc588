"""The real binary, as a person uses it."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ibjax.core.config import config_hash
from tests.helpers import CONFIGS, ROOT, VIB, flags, ibjax


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("runs") / "vib"
  overrides = ["objective.beta=1e-2", "bottleneck.dim=2"]
  done = ibjax("train", *flags(f"{VIB}:smoke", workdir, overrides))
  assert done.returncode == 0, done.stderr
  return workdir, overrides, done


def test_it_ends_with_the_row_and_the_paths_of_what_it_made(run):
  workdir, _, done = run
  lines = done.stdout.splitlines()
  assert "test err %" in lines[0] and lines[1].split()[:4] == ["vib", "digits", "0.01", "0"]
  for name in (
    "rate_distortion.png",
    "latents.png",
    "confusions.png",
    "report.html",
    "checkpoints",
  ):
    assert str(workdir / name) in done.stdout
    assert (workdir / name).exists()
  assert "steps/s" in done.stderr and "left" in done.stderr
  assert "Traceback" not in done.stderr and "Warning" not in done.stderr


def test_the_manifest_says_where_the_run_comes_from(run):
  workdir, overrides, _ = run
  manifest = json.loads((workdir / "manifest.json").read_text())
  assert manifest["config"]["objective"]["beta"] == 1e-2
  assert manifest["config_hash"] == config_hash(manifest["config"])
  assert manifest["config_file"] == f"{VIB}:smoke"
  assert manifest["overrides"] == [f"config.{o}" for o in overrides]
  assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= set(manifest["versions"])
  assert len(manifest["devices"]) == 1
  assert len(manifest["data"]["fingerprint"]) >= 12
  assert manifest["data"]["n_train"] == 1438 and manifest["data"]["n_test"] == 359
  assert manifest["batch_scope"] == "global"
  assert manifest["command"].startswith("ibjax train --config=")


def test_names_carry_units_and_the_result_is_flat(run):
  workdir, _, _ = run
  units = ("_nats", "_frac", "_s", "_per_s", "_ms", "_norm", "_rate")
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    line = json.loads(line)
    assert list(line)[:2] == ["step", "split"]
    for name, value in line.items():
      assert name in ("step", "split") or (name.endswith(units) and np.isfinite(value)), name
  row = json.loads((workdir / "result.json").read_text())
  assert all(isinstance(value, (int, float, str)) for value in row.values())
  for name in ("test/err_frac", "test/rate_nats", "test/i_xz_upper_nats", "test/i_yz_lower_nats"):
    assert name in row
  entropy = np.log(10)
  np.testing.assert_allclose(
    row["test/i_yz_lower_nats"], entropy - row["test/distortion_nats"], atol=0.01
  )


def test_tensorboard_events_hold_the_same_scalars(run):
  workdir, _, _ = run
  from tensorboardX.proto import event_pb2

  found = {}
  for path in (workdir / "tensorboard").iterdir():
    content = path.read_bytes()
    while content:
      size = int.from_bytes(content[:8], "little")
      event = event_pb2.Event.FromString(content[12 : 12 + size])
      for value in event.summary.value:
        found[value.tag, event.step] = value.simple_value
      content = content[16 + size :]
  last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  assert last["split"] == "test"
  np.testing.assert_allclose(found["test/err_frac", last["step"]], last["err_frac"], rtol=1e-6)


def test_predictions_are_those_of_the_row(run):
  workdir, _, _ = run
  with np.load(workdir / "predictions.npz") as values:
    error = np.mean(values["label"] != values["prediction"])
    assert values["latent"].shape == (359, 2)
  row = json.loads((workdir / "result.json").read_text())
  np.testing.assert_allclose(error, row["test/err_frac"], rtol=1e-6)


def test_a_finished_run_shows_its_row_at_once(run):
  workdir, overrides, first = run
  before = (workdir / "metrics.jsonl").read_bytes()
  again = ibjax("train", *flags(f"{VIB}:smoke", workdir, overrides))
  assert again.returncode == 0
  assert first.stdout.splitlines()[1] in again.stdout
  assert (workdir / "metrics.jsonl").read_bytes() == before


def test_another_config_in_the_same_workdir_is_refused_with_the_difference(run):
  workdir, overrides, _ = run
  done = ibjax("train", *flags(f"{VIB}:smoke", workdir, [*overrides, "seed=7"]))
  assert done.returncode == 2
  assert "seed: 0 -> 7" in done.stderr and "--allow_config_change" in done.stderr


def test_a_changed_config_is_continued_when_told_to(run, tmp_path):
  import shutil

  workdir = tmp_path / "copy"
  shutil.copytree(run[0], workdir)
  longer = [*run[1], "train.duration=4 epochs"]
  done = ibjax("train", *flags(f"{VIB}:smoke", workdir, longer), "--allow_config_change")
  assert done.returncode == 0, done.stderr
  assert "continuing from the checkpoint of step 66" in done.stderr
  manifest = json.loads((workdir / "manifest.json").read_text())
  assert manifest["resumes"][-1]["config_change"] == ["train.duration: '3 epochs' -> '4 epochs'"]
  assert json.loads((workdir / "result.json").read_text())["step"] == 88


def test_eval_repeats_the_row(run):
  workdir, _, _ = run
  done = ibjax("eval", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  row = json.loads((workdir / "result.json").read_text())
  for name in ("err_frac", "rate_nats", "nll_nats"):
    np.testing.assert_allclose(found[name], row[f"test/{name}"], rtol=1e-6)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--workdir=nowhere"], "holds no run"),
    (["--workdir={run}", "--split=tset"], "Did you mean 'test'"),
    (["--workdir={run}", "--step=3"], "no checkpoint of step 3"),
    (["--wrkdir=x"], "Did you mean '--workdir'"),
  ],
)
def test_eval_errors_teach(run, arguments, message):
  done = ibjax("eval", *(argument.format(run=run[0]) for argument in arguments))
  assert done.returncode == 2
  assert message in done.stderr and "Traceback" not in done.stderr


def test_dry_run_describes_and_makes_nothing(tmp_path):
  workdir = tmp_path / "run"
  done = ibjax("train", *flags(VIB, workdir, ["train.ema=0.9"]), "--dry_run", devices=2)
  assert done.returncode == 0, done.stderr
  text = done.stdout
  assert "beta: 0.001" in text and "ema: 0.9" in text
  rows = [line.split() for line in text.splitlines()]
  assert ["encoder/dense_1/kernel", "1024x1024", "float32", "replicated"] in rows
  total = 784 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 512 + 512 + 256 * 10 + 10
  assert f"total {total:,} parameters" in text
  assert "data=2" in text and "memory per device" in text
  line = next(line for line in text.splitlines() if line.startswith("flops per step"))
  flops = float(line.split("(")[1].split()[0])
  # Forward, weight gradients, and input gradients of all but the first layer: 2 FLOPs a product.
  products = 200 * (3 * (1024 * 1024 + 1024 * 512 + 256 * 10) + 2 * 784 * 1024)
  assert 0.95 < flops / (2 * products) < 1.25
  assert not workdir.exists()


def test_dry_run_puts_nothing_on_a_device():
  program = (
    "import sys, jax; from ibjax.main import main\n"
    f"code = main(['train', '--config={VIB}', '--dry_run'])\n"
    "sizes = [a.nbytes for a in jax.live_arrays()]\n"
    "sys.exit(code or (3 if sum(sizes) > 1000 else 0))"
  )
  from tests.helpers import environment

  done = subprocess.run(
    [sys.executable, "-c", program], env=environment(), cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["trian"], "Did you mean 'train'"),
    (["launsh"], "unknown verb 'launsh'"),
    (["table"], "needs one experiment's folder"),
    (["train"], "needs --config=FILE.py"),
    (["train", "--confg=x.py"], "Did you mean '--config'"),
    (["train", f"--config={VIB}"], "needs --workdir=FOLDER"),
    (["list", "objectivs"], "Did you mean 'objectives'"),
    (["data", "prepar"], "prepare"),
    (
      [
        "train",
        f"--config={VIB}",
        "--config.objective.fn=ibjax.objectives.variational.vbi:vib",
        "--dry_run",
      ],
      "Did you mean 'ibjax.objectives.variational.vib'",
    ),
    (["train", f"--config={VIB}", "--config.data.source=mnits", "--dry_run"], "mnist"),
  ],
)
def test_mistakes_are_named(arguments, message):
  done = ibjax(*arguments)
  assert done.returncode == 2
  assert done.stderr.startswith("error:") or "\nerror:" in done.stderr
  assert message in done.stderr and "Traceback" not in done.stderr


def test_help_and_list():
  assert "train" in ibjax("--help").stdout
  assert "--workdir" in ibjax("train", "--help").stdout
  listed = ibjax("list").stdout
  for name in (
    "ibjax.objectives.variational.ceb:ceb",
    "ibjax.bottlenecks.gaussian:gaussian",
    "mnist",
    VIB,
  ):
    assert name in listed


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_trains_in_its_smoke_form(path, tmp_path):
  done = ibjax("train", *flags(f"{path}:smoke", tmp_path / "run"))
  assert done.returncode == 0, done.stderr
  row = json.loads((tmp_path / "run" / "result.json").read_text())
  if "tasks" in row:  # an estimator: near the exact values
    assert row["failed"] == 0 and row["mae_nats"] < 0.15
  elif "entropy_nats" in row:  # a coupling: not below what none can go below
    assert row["lower_bound_nats"] < row["entropy_nats"] < row["lower_bound_nats"] + 0.5
  elif "accuracy_frac" in row:  # a message: heard better than by chance
    assert row["accuracy_frac"] > 0.2
  elif "gap_nats" in row:  # networks of several samples: they learn, and have a gap
    assert row["test_err_frac"] < 0.7 and row["gap_nats"] > 0
  elif "test/bits_per_token" in row:  # walks over 10 states of 2 successors, in 11 tokens
    assert 0.5 < row["test/bits_per_token"] < 2.5 < math.log2(11)
  elif "teacher_nll_nats" in row:  # a cache made smaller: at full rank nothing is lost
    assert row["teacher_nll_nats"] < 2.0 < math.log(11)
    assert row["latent_8_8_nll_nats"] == pytest.approx(row["teacher_nll_nats"], abs=1e-3)
  elif "width_4_logit_rank" in row:  # a decoder 4 wide has logits of rank 4
    assert row["width_4_logit_rank"] == 4 and row["width_4_nll_nats"] < math.log(11)
  elif "code/usage_frac" in row:  # a discrete code: symbols that are used, and say something
    assert row["code/usage_frac"] > 0.3
    assert 2.0 < row["code/entropy_bits"] <= row["code/stored_bits"]
  elif "test/elbo_nats" in row:  # an autoencoder: some units say something of the input
    assert row["collapse/active_units"] >= 2 and row["test/rate_nats"] > 0
  elif "test/mse" in row:  # a regression: it has learned something of the target
    if "test/i_yz_lower_nats" in row:
      most = row.get("test/rate_nats", row["test/i_xz_loo_upper_nats"])
      assert 0 < row["test/i_yz_lower_nats"] < most
    else:  # H(Y) is not known: better than the mean of the targets
      with np.load(tmp_path / "run" / "predictions.npz") as arrays:
        assert row["test/mse"] < 0.95 * arrays["target"].var()
  else:
    # No error at all is right where the data are a truth table.
    assert row["test/err_frac"] < 0.4


def test_on_a_terminal_one_line_is_redrawn(tmp_path):
  import os
  import pty

  from tests.helpers import command, environment

  leader, follower = pty.openpty()
  process = subprocess.Popen(
    command("train", *flags(f"{VIB}:smoke", tmp_path / "run")),
    env=environment(),
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=follower,
    stdin=subprocess.DEVNULL,
  )
  os.close(follower)
  shown = b""
  while True:
    try:
      part = os.read(leader, 4096)
    except OSError:  # the other end is closed
      break
    if not part:
      break
    shown += part
  os.close(leader)
  assert process.wait(timeout=120) == 0
  text = shown.decode()
  assert "\r\033[K" in text and "left" in text
  # Test lines stay; training lines are redrawn in place.
  kept = [line for line in text.replace("\r\n", "\n").split("\n") if line]
  assert any("  test  " in line for line in kept)


def test_data_that_changed_since_the_run_began_are_refused(tmp_path):
  from ibjax.core.errors import ConfigError
  from ibjax.train.outcome import make_manifest
  from ibjax.train.records import session
  from tests.helpers import tiny_setup

  setup = tiny_setup()
  about = {"command": "ibjax train --config=x.py"}

  def again(old):
    return make_manifest(setup, setup.config, about, old, session())

  manifest = again(None)
  assert again(manifest)["resumes"]
  changed = {**manifest, "data": {**manifest["data"], "fingerprint": "0" * 64}}
  with pytest.raises(ConfigError, match="has changed since this run began"):
    again(changed)
