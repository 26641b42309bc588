"""Processes of one run: how they join, what they must agree on, and what the others do when one
is killed, lost or told to stop."""

import json
import os
import re
import signal
import socket

import pytest

from ibjax.cluster import heartbeat, processes, supervisor
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.main import main
from ibjax.train import records
from tests.helpers import VIB, command, ended, flags, free_port, ibjax, joined, started, until

# Long enough to be killed in the middle, short enough to be run to its end again.
LONG = (
  "train.duration=600 steps",
  "checkpoint.every=50 steps",
  "eval.every=600 steps",
  "train.log_every=100 steps",
  "train.steps_per_dispatch=10",
)


def train_flags(workdir, overrides=LONG):
  return ["train", *flags(f"{VIB}:smoke", workdir, overrides), "--lost_after=30"]


def beat(workdir, process):
  return heartbeat.read(heartbeat.path_of(workdir / heartbeat.FOLDER, process)) or {}


def lines(workdir):
  return records.comparable(records.read_lines(workdir / "metrics.jsonl"))


def trains(workdir, running):
  """Waits until a checkpoint is there: a folder with its final name."""
  found = workdir / "checkpoints"
  until(lambda: found.exists() and any(path.name.isdigit() for path in found.iterdir()), running)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  with started(joined(2, *train_flags(workdir))) as running:
    assert ended(running) == [0, 0], running[0].output()
    # Process 0 alone speaks.
    assert "step" in running[0].output() and not running[1].output().strip()
  return lines(workdir)


def finish(workdir, straight):
  with started(joined(2, *train_flags(workdir))) as running:
    assert ended(running) == [0, 0], running[0].output()
    assert "continuing from the checkpoint of step" in running[0].output()
  assert lines(workdir) == straight
  assert beat(workdir, 1)["state"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_process_is_named_and_the_run_continues_bit_for_bit(straight, tmp_path, lost):
  with started(joined(2, *train_flags(tmp_path))) as running:
    trains(tmp_path, running)
    os.kill(beat(tmp_path, lost)["pid"], signal.SIGKILL)
    codes = ended(running)
    said = running[1 - lost].output()
  assert codes[lost] == 128 + signal.SIGKILL and codes[1 - lost] == 75, said
  assert re.search(rf"process {lost} of 2 \(host .*\) is gone \(killed by SIGKILL\)", said), said
  assert "continues from the last checkpoint" in said and "Traceback" not in said
  assert beat(tmp_path, 1 - lost)["state"] == "stopped"
  finish(tmp_path, straight)


@pytest.mark.slow
def test_a_process_that_falls_silent_is_named(tmp_path):
  """As when a node dies: nobody is left there to tell."""
  arguments = [*train_flags(tmp_path)[:-1], "--lost_after=10"]
  with started(joined(2, *arguments)) as running:
    trains(tmp_path, running)
    pid = beat(tmp_path, 1)["pid"]
    os.kill(running[1].process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    try:
      until(lambda: running[0].process.poll() is not None, running)
    finally:
      os.kill(pid, signal.SIGKILL)
    assert running[0].process.returncode == 75
    assert "is lost: no sign of life for" in running[0].output()


@pytest.mark.slow
def test_one_that_is_told_to_stop_stops_all_and_all_is_saved(straight, tmp_path):
  with started(joined(2, *train_flags(tmp_path))) as running:
    trains(tmp_path, running)
    running[1].process.send_signal(signal.SIGTERM)
    assert ended(running) == [75, 75], running[0].output()
    assert "saved step" in running[0].output()
  assert beat(tmp_path, 0)["state"] == "stopped"
  finish(tmp_path, straight)


@pytest.mark.slow
def test_different_configs_are_told_before_the_first_step(tmp_path):
  commands = joined(2, *train_flags(tmp_path))
  commands[1].append("--config.objective.beta=0.5")
  with started(commands) as running:
    assert ended(running) == [2, 2]
    said = running[0].output()
  assert "were started with different configs" in said and "objective.beta" in said
  assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.slow
def test_folders_that_are_not_the_same_are_told(tmp_path):
  commands = joined(2, *train_flags(tmp_path / "a"), "--join_timeout=60")
  commands[1] = [word.replace(str(tmp_path / "a"), str(tmp_path / "b")) for word in commands[1]]
  with started(commands) as running:
    assert ended(running) == [2, 2]
    said = running[0].output()
  assert "the workdir is not shared" in said and str(tmp_path / "b") in said


@pytest.mark.slow
def test_a_process_that_never_comes(tmp_path):
  with started(joined(2, *train_flags(tmp_path), "--join_timeout=5")[:1]) as running:
    assert ended(running) == [1]
    assert "process 0 of 2 did not join the others at 127.0.0.1" in running[0].output()


def refused(capsys, *arguments):
  os.environ[heartbeat.SUPERVISED] = "-1"  # in this process: no parent watches over a test
  try:
    code = main(["train", *arguments])
  finally:
    del os.environ[heartbeat.SUPERVISED]
  assert code == 2
  return capsys.readouterr().err


def test_a_coordinator_that_does_not_answer(tmp_path, capsys):
  said = refused(
    capsys,
    *flags(f"{VIB}:smoke", tmp_path),
    f"--coordinator=127.0.0.1:{free_port()}",
    "--num_processes=2",
    "--process_id=1",
    "--join_timeout=1",
  )
  assert "did not answer for 1 s (Connection refused)" in said


def test_a_port_in_use(tmp_path, capsys):
  with socket.socket() as other:
    other.bind(("", 0))
    other.listen()
    port = other.getsockname()[1]
    address = f"--coordinator=127.0.0.1:{port}"
    said = refused(capsys, *flags(f"{VIB}:smoke", tmp_path), address, "--num_processes=2")
  assert f"cannot listen on port {port}" in said and "another program" in said


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--num_processes=0"], "at least 1"),
    (["--num_processes=2"], "needs --coordinator=HOST:PORT"),
    (["--num_processes=2", "--coordinator=a:1", "--process_id=2"], "in 0..1"),
    (["--num_processes=2", "--coordinator=here"], "must be HOST:PORT"),
    (["--coordinator=a:99999"], "must be HOST:PORT"),
    (["--distributed", "--num_processes=2"], "leave out --coordinator"),
    (["--lost_after=0"], "greater than 0"),
    (["--join_timeout=-1"], "greater than 0"),
  ],
)
def test_flags_that_do_not_fit(tmp_path, capsys, arguments, message):
  assert message in refused(capsys, *flags(f"{VIB}:smoke", tmp_path), *arguments)


def report(**other):
  about = {
    "config": {"seed": 0},
    "flags": {"chunk": None},
    "code": "a",
    "versions": {},
    "numerics": {},
    "found": None,
  }
  return about | {"host": "node", "workdir": "/runs", "clock": 1000.0} | other


@pytest.mark.parametrize(
  "other, error, message",
  [
    (dict(config={"seed": 1}), ConfigError, "seed"),
    (dict(flags={"chunk": 4}), ConfigError, "different flags"),
    (dict(code="b"), ConfigError, "different code of ibjax"),
    (dict(versions={"jax": "0.1"}), ConfigError, "different versions"),
    (dict(numerics={"float": "float64"}), ConfigError, "different JAX"),
    (dict(found=["hash", True], workdir="/tmp"), WorkdirError, "not shared.*/tmp and /runs"),
  ],
)
def test_what_processes_must_agree_on(other, error, message):
  with pytest.raises(error, match=message) as raised:
    processes.compare([report(), report(), report(host="far", **other)])
  assert "process 2 (far) and process 0 (node)" in str(raised.value)


def test_a_clock_that_is_off_is_a_warning():
  (text,) = processes.compare([report(), report(clock=1001.0), report(clock=-2600.0, host="far")])
  assert "process 2 (far) is -3600 s off" in text


def test_no_cluster_is_found(tmp_path, monkeypatch):
  for name in [name for name in os.environ if name.startswith(("SLURM_", "OMPI_"))]:
    monkeypatch.delenv(name)
  done = ibjax("train", *flags(f"{VIB}:smoke", tmp_path), "--distributed")
  assert done.returncode == 2
  assert "found no cluster" in done.stderr and "ibjax launch" in done.stderr


def test_what_is_supervised(monkeypatch):
  monkeypatch.delenv(heartbeat.SUPERVISED, raising=False)
  assert supervisor.wanted(["train", "--distributed"])
  assert supervisor.wanted(["train", "--coordinator=a:1", "--num_processes", "2"])
  assert not supervisor.wanted(["train", "--config=x.py"])
  assert not supervisor.wanted(["train", "--distributed", "--help"])
  assert not supervisor.wanted(["eval", "--distributed"])
  monkeypatch.setenv(heartbeat.SUPERVISED, "5")
  assert not supervisor.wanted(["train", "--distributed"])


def test_a_solo_run_has_a_heartbeat(tmp_path):
  with started([command("train", *flags(f"{VIB}:smoke", tmp_path))]) as running:
    assert ended(running) == [0]
  said = beat(tmp_path, 0)
  assert (said["state"], said["of"]) == ("finished", 1) and said["step"] == said["total"] > 0
  assert json.loads((tmp_path / "result.json").read_text())
