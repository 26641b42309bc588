"""A run killed at any moment and started again is the straight run, bit for bit."""

import json
import random
import signal
import subprocess
import time

import jax
import pytest

from ibjax.core.errors import WorkdirError
from ibjax.train import loop, records
from tests.helpers import ROOT, command, environment, flags, ibjax, same, tiny_setup, train

OVERRIDES = (
  "train.duration=600 steps",
  "checkpoint.every=20 steps",
  "eval.every=50 steps",
  "train.log_every=15 steps",
  "train.steps_per_dispatch=7",
  "train.ema=0.99",
)


def arguments(workdir):
  return ["train", *flags("configs/variational/vib_mnist.py:smoke", workdir, OVERRIDES)]


def final(workdir):
  lines = records.comparable(records.read_lines(workdir / "metrics.jsonl"))
  row = json.loads((workdir / "result.json").read_text())
  row = {k: v for k, v in row.items() if not k.endswith(records.CLOCK_SUFFIXES)}
  setup = tiny_setup(
    **{
      key.replace(".", "__"): value
      if not value.replace(".", "").isdigit()
      else (float(value) if "." in value else int(value))
      for key, value in (o.split("=") for o in OVERRIDES)
    }
  )
  keeper = loop.Checkpoints(workdir / "checkpoints", keep=2, best="", report=print, read_only=True)
  step, state = keeper.restore(setup.abstract)
  assert step == 600
  return lines, row, jax.device_get(state)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  folder = tmp_path_factory.mktemp("straight")
  done = ibjax(*arguments(folder / "run"))
  assert done.returncode == 0, done.stderr
  began = time.monotonic()
  ibjax(*arguments(folder / "timed"))  # with everything compiled, as the killed ones will be
  return final(folder / "run"), time.monotonic() - began


def kill_and_resume(straight, workdir, kills, seed):
  expected, seconds = straight
  rng = random.Random(seed)
  resumed = 0
  for _ in range(kills):
    process = subprocess.Popen(
      command(*arguments(workdir)),
      env=environment(),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    time.sleep(rng.uniform(0.05, 1.0) * seconds)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    resumed += "continuing from the checkpoint" in output
    if "error:" in output:
      raise AssertionError(output)
  done = ibjax(*arguments(workdir))
  assert done.returncode == 0, done.stderr
  lines, row, state = final(workdir)
  assert lines == expected[0]
  assert row == expected[1]
  assert same(state, expected[2])
  return resumed


@pytest.mark.slow
def test_killed_five_times_and_continued_is_the_straight_run(straight, tmp_path):
  kill_and_resume(straight, tmp_path / "run", kills=5, seed=time.time_ns())


@pytest.mark.very_slow
def test_killed_fifty_times_and_continued_is_the_straight_run(straight, tmp_path):
  for round_ in range(10):
    kill_and_resume(straight, tmp_path / str(round_), kills=5, seed=round_)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_saves_exits_with_its_code_and_continues(straight, tmp_path, number):
  expected, _ = straight
  workdir = tmp_path / "run"
  process = subprocess.Popen(
    command(*arguments(workdir)),
    env=environment(),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  deadline = time.monotonic() + 120
  while time.monotonic() < deadline:  # until it trains
    if len(records.read_lines(workdir / "metrics.jsonl")) >= 2:
      break
    time.sleep(0.01)
  process.send_signal(number)
  output, _ = process.communicate(timeout=120)
  assert process.returncode == loop.EXIT_STOPPED == 75, output
  assert f"{signal.Signals(number).name}: saved step" in output
  assert "Traceback" not in output
  done = ibjax(*arguments(workdir))
  assert done.returncode == 0, done.stderr
  assert "continuing from the checkpoint" in done.stderr
  lines, row, state = final(workdir)
  assert (lines, row) == expected[:2] and same(state, expected[2])


def test_the_same_config_and_seed_give_the_same_metrics_bit_for_bit(tmp_path):
  runs = [train(tiny_setup(train__duration="40 steps"), tmp_path / str(i)) for i in range(2)]
  assert runs[0] == runs[1]
  other = train(tiny_setup(train__duration="40 steps", seed=1), tmp_path / "other")
  assert runs[0] != other


def test_a_torn_line_is_dropped_and_later_lines_are_written_again(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1, "split": "train", "a": 1.0}\n{"step": 2, "split": "train"}\n{"ste')
  written = records.Records(tmp_path, step=1, active=True)
  written.write(2, "train", {"a": 2.0, "b_nats": float("nan")})
  written.close()
  assert records.read_lines(path) == [
    {"step": 1, "split": "train", "a": 1.0},
    {"step": 2, "split": "train", "a": 2.0},
  ]


def test_a_damaged_line_before_the_last_is_an_error_that_loses_nothing(tmp_path):
  path = tmp_path / "metrics.jsonl"
  text = '{"step": 1, "split": "train"}\n{"st\n{"step": 3, "split": "train"}\n'
  path.write_text(text)
  with pytest.raises(WorkdirError, match="line 2, is not a metric line"):
    records.Records(tmp_path, step=3, active=True)
  assert path.read_text() == text
