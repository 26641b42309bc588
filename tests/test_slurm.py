"""Jobs of a real Slurm: a private one of two nodes, on this machine."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from ibjax.cluster import slurm as slurm_lib
from ibjax.train import records
from tests import slurm_cluster
from tests.helpers import ROOT, VIB, environment, flags, ibjax, started, until

pytestmark = pytest.mark.slow

CLUSTER = str(ROOT / "scripts/slurm_cluster.py")
OVERRIDES = (
  "train.duration=600 steps",
  "checkpoint.every=20 steps",
  "eval.every=200 steps",
  "train.log_every=50 steps",
  "train.steps_per_dispatch=10",
)
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


@pytest.fixture(scope="module")
def slurm():
  """A running Slurm, whose programs this process and its children find."""
  with pytest.MonkeyPatch.context() as patch, slurm_cluster.cluster() as env:
    for name, value in {**environment(1), **env}.items():
      patch.setenv(name, value)
    yield


def launch(workdir, *more, config=f"{VIB}:smoke", overrides=OVERRIDES):
  """Submits a run of two processes on two nodes; returns the job's number."""
  own = ["launch", "--backend=slurm", "--nodes=2", "--go", *more]
  done = ibjax(*own, "--", "train", *flags(config, workdir, overrides), "--lost_after=200")
  assert done.returncode == 0, done.stderr
  return json.loads((workdir / "launch.json").read_text())["job_id"]


def log(workdir, job):
  path = workdir / f"slurm-{job}.log"
  return path.read_text() if path.exists() else ""


def finish(workdir, job):
  """Waits for the end of a job; returns what Slurm says of it, and its lines and row."""
  task = slurm_cluster.wait_for_state(job, OVER)
  assert task["state"] == "COMPLETED", f"{task}\n{log(workdir, job)}"
  lines = records.comparable(records.read_lines(workdir / "metrics.jsonl"))
  row = json.loads((workdir / "result.json").read_text())
  row = {name: v for name, v in row.items() if not name.endswith(records.CLOCK_SUFFIXES)}
  return task, lines, row


def freeze(workdir, after=0):
  """Halts the training processes once a checkpoint later than step `after` stands.

  So what a test does next meets a run that trains, however fast or slow the machine is. Slurm's
  SIGCONT, which comes before its SIGTERM, wakes them.

  Returns:
    (the last step with a checkpoint, the pids of the processes).
  """

  def steps():
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return [int(name) for name in names if name.isdigit()]  # others are being written

  # What stands already is of an earlier start, whose processes are gone.
  after = max([after, *steps()])
  until(lambda: max(steps(), default=0) > after, [], 400)
  paths = sorted((workdir / "heartbeats").glob("process-*.json"))
  pids = [json.loads(path.read_text())["pid"] for path in paths]
  for pid in pids:
    os.kill(pid, signal.SIGSTOP)
  return max(steps()), pids


@pytest.fixture(scope="module")
def straight(slurm, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("slurm") / "straight run"
  job = launch(workdir)
  return workdir, job, finish(workdir, job)


def test_a_job_of_two_nodes_finishes_and_status_knows_it(straight):
  workdir, job, (task, lines, _) = straight
  assert task["restarts"] == "0" and task["nodes"] == "127.0.0.[1-2]"
  assert json.loads((workdir / "manifest.json").read_text())["processes"] == 2
  assert lines[-1]["step"] == 600
  assert "test err %" in log(workdir, job)
  status = ibjax("status", str(workdir)).stdout
  assert f"Slurm job {job}: COMPLETED" in status and "1 of 2" in status


def test_preempted_requeued_and_robbed_of_a_process_a_job_continues_bit_for_bit(straight, tmp_path):
  workdir = tmp_path / "run"
  job = launch(workdir)
  first, _ = freeze(workdir)
  urgent = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
  subprocess.run([*urgent, "--wrap=true"], check=True, capture_output=True, timeout=60)
  until(lambda: "started again 1 times" in log(workdir, job), [], 400)
  assert "DUE TO PREEMPTION" in log(workdir, job)

  second, _ = freeze(workdir, after=first + 20)
  subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
  until(lambda: "started again 2 times" in log(workdir, job), [], 400)
  said = log(workdir, job)
  assert said.count("SIGTERM: saved step") == said.count(f"Slurm ended job {job}") == 2, said
  assert "asking Slurm" not in said  # Slurm requeued it by itself

  _, pids = freeze(workdir, after=second + 20)
  os.kill(pids[1], signal.SIGKILL)
  os.kill(pids[0], signal.SIGCONT)
  task, *result = finish(workdir, job)
  said = log(workdir, job)
  assert task["restarts"] == "3", said
  assert "process 1 of 2 (host " in said and f"pid {pids[1]}" in said
  assert said.count(f"asking Slurm to run job {job} again") == 1
  assert said.count("continuing from the checkpoint") == 3
  assert tuple(result) == straight[2][1:]


def test_a_cancelled_job_saves_and_stays_cancelled(slurm, tmp_path):
  workdir = tmp_path / "run"
  job = launch(workdir)
  freeze(workdir)
  subprocess.run(["scancel", job], check=True, timeout=60)
  task = slurm_cluster.wait_for_state(job, OVER)
  assert task["state"] == "CANCELLED" and task["restarts"] == "0"
  until(lambda: f"Slurm ended job {job}" in log(workdir, job), [])
  assert "SIGTERM: saved step" in log(workdir, job)


def test_tasks_of_an_array_come_back_alone(slurm, tmp_path):
  # The last one's job number is the array's: by it, Slurm would requeue all of them.
  again = "import os, sys; first = 'SLURM_RESTART_COUNT' not in os.environ; task = "
  again += "os.environ['SLURM_ARRAY_TASK_ID']; sys.exit(75 if first and task in '12' else 0)"
  request = slurm_lib.Request(
    (sys.executable, "-c", again), folder=tmp_path, directory=tmp_path, array="0-2"
  )
  (tmp_path / "array.sh").write_text(slurm_lib.render(request))
  job = slurm_lib.submit(tmp_path / "array.sh")
  until(lambda: slurm_lib.state(job)["state"] == "3 COMPLETED", [], 400)
  restarts = {task["id"]: task["restarts"] for task in slurm_lib.state(job)["tasks"]}
  assert restarts == {f"{job}_0": "0", f"{job}_1": "1", f"{job}_2": "1"}


def test_bad_input_is_told_and_not_started_again(slurm, tmp_path):
  workdir = tmp_path / "run"
  job = launch(workdir, overrides=["data.source=nothing"])
  task = slurm_cluster.wait_for_state(job, OVER)
  said = log(workdir, job)
  assert (task["state"], task["exit_code"], task["restarts"]) == ("FAILED", "2:0", "0"), said
  assert "error: " in said and "bad input (exit code 2)" in said and "Traceback" not in said


def test_no_process_is_left_when_whoever_started_the_cluster_is_killed():
  # As hard as can be, with a job running. A socket's path must be short, which tmp_path's is not.
  with tempfile.TemporaryDirectory(prefix="ibjax-slurm-", ignore_cleanup_errors=True) as folder:
    _kill_the_starter(pathlib.Path(folder))


def test_a_folder_whose_sockets_would_have_no_room_is_refused(tmp_path):
  done = subprocess.run(
    [sys.executable, CLUSTER, str(tmp_path / ("x" * 90))], capture_output=True, text=True
  )
  assert done.returncode == 2 and "too long" in done.stderr and "shorter" in done.stderr


def _kill_the_starter(folder):
  script = (
    "import subprocess, sys, time\n"
    f"subprocess.Popen([sys.executable, {CLUSTER!r}, {str(folder)!r}])\n"
    "time.sleep(600)\n"
  )
  with started([[sys.executable, "-c", script]]) as running:
    until(lambda: running[0].output(), running)
    if "not installed" in running[0].output():
      pytest.skip(running[0].output().strip())
    until(lambda: "ready:" in running[0].output(), running)
    env = {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf"}
    mark = folder / "running"
    command = ["sbatch", "--output=/dev/null", f"--wrap=touch {mark}; sleep 600"]
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
    until(mark.exists, running)
    assert any("sleep 600" in found for found in slurm_cluster.alive(folder))
    running[0].process.send_signal(signal.SIGKILL)
    until(lambda: not slurm_cluster.alive(folder), running)
