"""The script that a job runs, and how Slurm's answers are read; without Slurm.

The batch script is run by bash with stand-ins for srun and scontrol, so that every way a job can
end is seen. What real Slurm does is in test_slurm.py.
"""

import os
import pathlib
import shutil
import stat
import subprocess

import pytest

from ibjax.cluster import slurm
from ibjax.core.errors import ClusterError, ConfigError


def request(folder, **options):
  defaults = dict(command=("true",), folder=folder, directory=folder)
  return slurm.Request(**{**defaults, **options})


def program(folder: pathlib.Path, name: str, text: str) -> None:
  """Puts a stand-in for one of Slurm's programs into a folder."""
  path = folder / name
  path.write_text(f"#!/bin/bash\n{text}\n")
  path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run_script(folder, script, **environment):
  """Runs a job's script with a stand-in srun of two tasks; returns (exit code, what it said)."""
  path = folder / "job.sh"
  path.write_text(script)
  programs = folder / "programs"
  programs.mkdir(exist_ok=True)
  # Like srun, it gives the highest exit code.
  srun = "while [[ $1 == -* ]]; do shift; done; worst=0\nfor SLURM_PROCID in 0 1; do\n"
  srun += 'export SLURM_PROCID; "$@"; code=$?; worst=$((code > worst ? code : worst))\ndone\n'
  program(programs, "srun", srun + 'exit "$worst"')
  program(programs, "scontrol", 'echo "asked: $*"')
  env = {
    "PATH": f"{programs}:{os.environ['PATH']}",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "a",
    **environment,
  }
  done = subprocess.run(["bash", str(path)], env=env, capture_output=True, text=True, timeout=60)
  return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
  ("command", "code", "asked"),
  [
    ("exit 0", 0, False),
    ("exit 1", 1, False),
    ("exit 2", 2, False),
    ("exit 75", 75, True),
    ("kill -KILL $$", 137, True),
    ("exit $((SLURM_PROCID ? 75 : 1))", 75, True),
    ("exit $((SLURM_PROCID ? 75 : 2))", 2, False),
    ("kill -ABRT $$", 134, True),
  ],
)
def test_what_a_job_does_when_its_command_ends(tmp_path, command, code, asked):
  script = slurm.render(request(tmp_path, command=("bash", "-c", command)))
  ended, said = run_script(tmp_path, script)
  assert ended == code, said
  assert ("asked: requeue 7" in said) == asked


def test_a_job_is_not_requeued_for_ever(tmp_path):
  script = slurm.render(request(tmp_path, command=("bash", "-c", "exit 75"), requeues=3))
  assert "asked: requeue 7" in run_script(tmp_path, script, SLURM_RESTART_COUNT="2")[1]
  code, said = run_script(tmp_path, script, SLURM_RESTART_COUNT="3")
  assert code == 75 and "asked:" not in said and "after 3 restarts" in said


def test_the_last_task_of_an_array_does_not_requeue_the_whole_array(tmp_path):
  # Its job number is the array's.
  script = slurm.render(request(tmp_path, command=("bash", "-c", "exit 75"), array="0-3"))
  said = run_script(tmp_path, script, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")[1]
  assert "asked: requeue 7_3\n" in said


def test_a_job_that_slurm_ends_does_not_come_back(tmp_path):
  # What `scancel` does: SIGTERM for the batch shell, the task's and the command, which saves.
  command = (
    'trap "echo saved; exit 75" TERM; kill -TERM $JOB $PPID $$; while :; do sleep 0.05; done'
  )
  script = slurm.render(
    request(tmp_path, command=("bash", "-c", command), setup=("export JOB=$$",))
  )
  code, said = run_script(tmp_path, script)
  assert code == 75 and "saved" in said and "asked:" not in said and "Slurm ended job 7" in said


def test_the_script_holds_every_option_and_parses(tmp_path):
  folder = tmp_path / 'a "b" 50%j'
  folder.mkdir()
  script = slurm.render(
    request(
      folder,
      command=("ibjax", "train", "--config=a b.py"),
      name="vib",
      nodes=2,
      tasks_per_node=8,
      cpus_per_task=3,
      array="0-7%4",
      time="1-0",
      partition="gpu",
      account="me",
      qos="high",
      constraint="a100&nvlink",
      gpus_per_node="a100:8",
      gres="shm:1",
      mem="64G",
      exclusive=True,
      extra=("--mail-type=END",),
      setup=("module load cuda",),
      grace_s=300,
    )
  )
  directives = [line[8:] for line in script.splitlines() if line.startswith("#SBATCH ")]
  assert {
    "--job-name=vib",
    "--nodes=2",
    "--ntasks-per-node=8",
    "--cpus-per-task=3",
    "--array=0-7%4",
    "--time=1-0",
    "--partition=gpu",
    "--account=me",
    "--qos=high",
    "--constraint=a100&nvlink",
    "--gpus-per-node=a100:8",
    "--gres=shm:1",
    "--mem=64G",
    "--exclusive",
    "--mail-type=END",
    "--requeue",
    "--open-mode=append",
    "--signal=TERM@300",
  } < set(directives)
  (output,) = (line for line in directives if line.startswith("--output="))
  assert output.endswith(r'/a \"b\" 50%%j/slurm-%A_%a.log"')
  assert "\nmodule load cuda\n" in script and "--label --cpus-per-task=3 bash" in script
  assert "  ibjax train '--config=a b.py'\n" in script
  path = tmp_path / "job.sh"
  path.write_text(script)
  parsed = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
  assert (parsed.returncode, parsed.stderr) == (0, "")


def test_shellcheck_finds_nothing_in_the_script(tmp_path):
  if shutil.which("shellcheck") is None:
    pytest.skip("shellcheck is not installed")
  path = tmp_path / "job.sh"
  path.write_text(slurm.render(request(tmp_path, nodes=2, command=("ibjax", "train"))))
  done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(nodes=0), "nodes=0 must be at least 1"),
    (dict(tasks_per_node=-1), "tasks_per_node=-1 must be at least 1"),
    (dict(requeues=-1), "requeues=-1 must not be negative"),
    (dict(command=()), "needs a command"),
    (dict(time="soon"), "no time limit of Slurm"),
    (dict(time="1:2:3:4"), "no time limit of Slurm"),
    (dict(time="2"), "time=2 is 120 s, and the tasks are told to save grace=120 s before"),
    (dict(partition="a\n#SBATCH --uid=0"), "line break"),
    (dict(extra=("--a\nrm",)), "line break"),
  ],
)
def test_requests_that_cannot_be_are_refused(tmp_path, options, message):
  with pytest.raises(ConfigError, match=message):
    slurm.render(request(tmp_path, **options))


@pytest.mark.parametrize(
  ("text", "expected"),
  [("90", 5400), ("1:30", 90), ("2:00:05", 7205), ("1-2", 93600), ("1-2:3", 93780)],
)
def test_time_limits_are_read_as_slurm_reads_them(text, expected):
  assert slurm.seconds(text) == expected


# Slurm's answers.


@pytest.fixture
def programs(tmp_path, monkeypatch):
  """A folder in which stand-ins hide all programs of the same name."""
  folder = tmp_path / "programs"
  folder.mkdir()
  monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
  return folder


def test_a_submission_gives_the_number_and_drops_the_cluster(programs):
  program(programs, "sbatch", "echo '42;north'")
  assert slurm.submit(pathlib.Path("job.sh")) == "42"


def test_a_refused_submission_says_what_slurm_said(programs):
  program(programs, "sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
  with pytest.raises(ClusterError, match="invalid partition specified: gpu"):
    slurm.submit(pathlib.Path("job.sh"))


def test_a_slurm_that_does_not_answer_is_not_waited_for(programs, monkeypatch):
  program(programs, "sbatch", "exec sleep 600")
  monkeypatch.setattr(slurm, "TIMEOUT_S", 0.2)
  with pytest.raises(ClusterError, match="sbatch has not answered for 0.2 s"):
    slurm.submit(pathlib.Path("job.sh"))


def test_without_slurm_it_is_said(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  for ask in (lambda: slurm.submit(pathlib.Path("job.sh")), lambda: slurm.state("1")):
    with pytest.raises(ClusterError, match="no Slurm to ask"):
      ask()


def test_an_array_s_tasks_are_counted_by_state(programs):
  line = "JobId={} ArrayJobId=5 ArrayTaskId={} JobName=x JobState={} Reason=None Restarts=1"
  rows = [
    line.format(6, 0, "RUNNING"),
    line.format(7, 1, "RUNNING"),
    line.format(5, "2-8,9%4", "PENDING"),
  ]
  program(programs, "scontrol", "\n".join(f"echo '{row} NodeList=n1'; echo" for row in rows))
  found = slurm.state("5")
  assert found["state"] == "2 RUNNING, 8 PENDING"
  assert [task["id"] for task in found["tasks"]] == ["5_0", "5_1", "5_2-8,9%4"]
  assert found["tasks"][0]["nodes"] == "n1" and found["tasks"][0]["restarts"] == "1"


def test_a_job_that_slurm_forgot_is_no_error(programs):
  program(
    programs, "scontrol", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
  )
  assert slurm.state("5") == {"job_id": "5", "state": "FORGOTTEN", "tasks": []}


def test_a_silent_controller_is_told_apart_from_a_forgotten_job(programs):
  said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
  program(programs, "scontrol", f"echo '{said}' >&2; exit 1")
  with pytest.raises(ClusterError, match="Unable to contact slurm controller"):
    slurm.state("5")
