"""Slurm: a script to review, its submission, and what Slurm says of a job.

Plain `sbatch`, without submitit: that library sends a pickled Python function to the nodes, and
what a user must be able to read and change here is a script. What it would save us, asking for a
requeue, is five lines of `templates/batch.sh`.

A job that must run again asks for it itself (`scontrol requeue`), because which exit codes make
Slurm requeue (`RequeueExit`) is for administrators to say. What Slurm 22.05 does, as tried:

- `scontrol requeue`, preemption and `scancel` send SIGCONT and SIGTERM to the tasks and to the
  batch shell, wait `KillWait` (30 s unless the cluster says else), then SIGKILL. srun prints
  "forcing job termination", but the tasks have that time.
- `--signal=TERM@SECONDS` and `scancel --signal=TERM` signal the tasks and not the batch shell; so
  do the grace times of preemption.
- A requeued job keeps its number and its log, waits for `cred_expire` (120 s unless the cluster
  says else), and counts in SLURM_RESTART_COUNT.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from ibjax.cluster.render import fill
from ibjax.core.errors import ClusterError, ConfigError

TIMEOUT_S = 60.0
_TIME = re.compile(r"(?:(?P<d>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+)(?::(?P<ds>\d+))?)?)|(?P<rest>[\d:]+)")
# States of which a job does not come back by itself.
OVER = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT")
_FIELDS = {
  "state": "JobState",
  "reason": "Reason",
  "restarts": "Restarts",
  "exit_code": "ExitCode",
  "run_time": "RunTime",
  "time_limit": "TimeLimit",
  "nodes": "NodeList",
}


@dataclasses.dataclass(frozen=True)
class Request:
  """One job, or an array of jobs, that runs a command.

  Attributes:
    command: what each task runs, as words; the first is a program.
    folder: where the logs go; absolute, and the same folder on every node.
    directory: where the command starts, absolute.
    name: the job's name.
    nodes: how many nodes.
    tasks_per_node: processes on each.
    array: the numbers of an array's tasks, as Slurm writes them ("0-7" or "0-7%4"); "" for none.
    requeues: how often the job may run again after it was stopped or killed.
    grace_s: seconds before the time limit at which tasks are told to save.
    time: the time limit as Slurm writes it ("90", "2:00:00", "1-12"); "" for the partition's.
    partition: as sbatch takes it, like the following; "" leaves it to the cluster.
    account: whose hours.
    qos: quality of service.
    constraint: features the nodes must have.
    gpus_per_node: a number, or TYPE:NUMBER.
    gres: other generic resources of a node.
    mem: memory of a node, e.g. "64G".
    cpus_per_task: processors of each process; 0 leaves it to the cluster.
    exclusive: whether the nodes are for this job alone.
    extra: more options of sbatch, each written as after "#SBATCH ".
    setup: lines of shell run on the first node before the command, e.g. "module load cuda".
  """

  command: tuple[str, ...]
  folder: pathlib.Path
  directory: pathlib.Path
  name: str = "ibjax"
  nodes: int = 1
  tasks_per_node: int = 1
  array: str = ""
  requeues: int = 20
  grace_s: int = 120
  time: str = ""
  partition: str = ""
  account: str = ""
  qos: str = ""
  constraint: str = ""
  gpus_per_node: str = ""
  gres: str = ""
  mem: str = ""
  cpus_per_task: int = 0
  exclusive: bool = False
  extra: tuple[str, ...] = ()
  setup: tuple[str, ...] = ()


def render(request: Request) -> str:
  """Writes the script of a job; it can be reviewed, changed and given to `sbatch`.

  Args:
    request: the job.

  Returns:
    A bash script that runs the command on every task, and asks Slurm to run the job again when
    it was stopped with all saved (exit code 75) or a task was ended by a signal; never after bad
    input (exit code 2).

  Raises:
    ConfigError: a number out of range, a time limit that is none or leaves no time to save, a
      line break where none can stand.
  """
  _check(request)
  tasks = request.nodes * request.tasks_per_node
  srun = ["--kill-on-bad-exit=0", "--wait=0"]
  srun += ["--label"] if tasks > 1 else []
  # Since Slurm 22.05 srun does not take this over from sbatch.
  srun += [f"--cpus-per-task={request.cpus_per_task}"] if request.cpus_per_task else []
  return fill(
    "batch.sh",
    {
      "directives": "\n".join(f"#SBATCH {line}" for line in _directives(request)),
      "setup": "\n".join([f"cd {shlex.quote(str(request.directory))} || exit 2", *request.setup]),
      "srun": " ".join(srun),
      "command": _lines(request.command),
      "requeues": str(request.requeues),
    },
  )


def submit(path: pathlib.Path) -> str:
  """Submits a script.

  Args:
    path: the script.

  Returns:
    The job's number, of an array the array's.

  Raises:
    ClusterError: there is no Slurm here, it does not answer, or it refuses the job.
  """
  # --parsable prints NUMBER, or NUMBER;CLUSTER.
  answer = _ask(["sbatch", "--parsable", str(path)])
  job_id = answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""
  if not job_id.isdigit():
    raise ClusterError(f"sbatch answered {answer.strip()!r}; expected a job's number.")
  return job_id


def state(job_id: str) -> dict[str, Any]:
  """Asks Slurm for a job.

  Args:
    job_id: its number, of an array the array's, or NUMBER_TASK.

  Returns:
    {"job_id", "state" ("RUNNING"; of an array "2 RUNNING, 6 PENDING"), "tasks"}; a task is {"id",
    "state", "reason", "restarts", "exit_code", "run_time", "time_limit", "nodes"}, texts. Tasks of
    an array that wait are one, with an id like "5_2-9". The state is "FORGOTTEN" when Slurm no
    longer knows the job: it ended a while ago.

  Raises:
    ClusterError: there is no Slurm here, or it does not answer.
  """
  try:
    answer = _ask(["scontrol", "--oneliner", "show", "job", job_id])
  except ClusterError as error:
    if "Invalid job id" not in str(error):
      raise
    return {"job_id": job_id, "state": "FORGOTTEN", "tasks": []}
  tasks = [_task(line) for line in answer.splitlines() if line.startswith("JobId=")]
  counts: dict[str, int] = {}
  for task in tasks:
    counts[task["state"]] = counts.get(task["state"], 0) + _size(task["id"])
  found = (
    list(counts) if sum(counts.values()) == 1 else [f"{n} {name}" for name, n in counts.items()]
  )
  return {"job_id": job_id, "state": ", ".join(found), "tasks": tasks}


def ended(found: dict[str, Any]) -> bool:
  """Whether a job is over for good.

  Args:
    found: what `state` returned.

  Returns:
    False while one of its tasks waits, runs or is being ended.
  """
  return all(task["state"] in OVER for task in found["tasks"])


def _task(line: str) -> dict[str, str]:
  words = dict(word.partition("=")[::2] for word in line.split())
  array = words.get("ArrayJobId")
  name = f"{array}_{words.get('ArrayTaskId', '')}" if array else words["JobId"]
  return {"id": name} | {key: words.get(field, "") for key, field in _FIELDS.items()}


def _size(name: str) -> int:
  """How many tasks of an array an id such as "5_2-9,12%4" stands for; 1 of a job without."""
  parts = name.partition("_")[2].partition("%")[0].split(",")
  ends = [[int(end) for end in part.split("-")] for part in parts if part]
  return sum(end[-1] - end[0] + 1 for end in ends) if ends else 1


def _lines(command: Sequence[str]) -> str:
  """The command as shell, a flag a line."""
  return re.sub(r" (?=--\w)", " \\\\\n  ", shlex.join(command))


def _directives(request: Request) -> list[str]:
  log = "slurm-%A_%a.log" if request.array else "slurm-%j.log"
  # A "%" of the folder's own name must not be read as one of sbatch's patterns.
  path = str(request.folder / "LOG").replace("%", "%%").removesuffix("LOG") + log
  options = {
    "job-name": request.name,
    "nodes": str(request.nodes),
    "ntasks-per-node": str(request.tasks_per_node),
    "cpus-per-task": str(request.cpus_per_task or ""),
    "gpus-per-node": request.gpus_per_node,
    "gres": request.gres,
    "mem": request.mem,
    "partition": request.partition,
    "account": request.account,
    "qos": request.qos,
    "constraint": request.constraint,
    "time": request.time,
    "array": request.array,
    "output": path,
    "signal": f"TERM@{request.grace_s}" if request.grace_s else "",
  }
  lines = [f"--{name}={_quoted(value)}" for name, value in options.items() if value]
  lines += ["--open-mode=append", "--requeue" if request.requeues else "--no-requeue"]
  return [*lines, *(["--exclusive"] if request.exclusive else []), *request.extra]


def _quoted(value: str) -> str:
  """As sbatch reads its lines: a word, or one in double quotes."""
  if re.fullmatch(r"[\w@%+=:,./&|*()\[\]!-]+", value):
    return value
  return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _check(request: Request) -> None:
  if not request.command:
    raise ConfigError("a job needs a command.")
  for name in ("nodes", "tasks_per_node"):
    if getattr(request, name) < 1:
      raise ConfigError(f"{name}={getattr(request, name)} must be at least 1.")
  for name in ("requeues", "grace_s", "cpus_per_task"):
    if getattr(request, name) < 0:
      raise ConfigError(f"{name}={getattr(request, name)} must not be negative.")
  values = dataclasses.asdict(request)
  texts = [(name, value) for name, value in values.items() if isinstance(value, str)]
  texts += [("folder", str(request.folder)), ("directory", str(request.directory))]
  texts += [("extra", line) for line in request.extra]
  for name, text in texts:
    if "\n" in text:
      raise ConfigError(f"{name}={text!r} has a line break; it must be one line of the script.")
  if request.time and seconds(request.time) <= request.grace_s:
    raise ConfigError(
      f"time={request.time} is {seconds(request.time)} s, and the tasks are told to save "
      f"grace={request.grace_s} s before its end; ask for more time or a shorter grace."
    )


def seconds(time: str) -> int:
  """Reads a time limit as Slurm writes it.

  Args:
    time: MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES or
      DAYS-HOURS:MINUTES:SECONDS.

  Returns:
    Seconds.

  Raises:
    ConfigError: it is not such a text.

  Example:
    >>> seconds("90"), seconds("2:00:00"), seconds("1-12")
    (5400, 7200, 129600)
  """
  match = _TIME.fullmatch(time)
  if match and match["rest"] is None:
    parts = [int(match[name] or 0) for name in ("d", "dh", "dm", "ds")]
  else:
    words = time.split(":")
    if not match or len(words) > 3 or not all(words):
      raise ConfigError(
        f"time={time!r} is no time limit of Slurm; write MINUTES, HOURS:MINUTES:SECONDS or "
        "DAYS-HOURS, e.g. 90, 1:30:00 or 2-12."
      )
    numbers = [int(word) for word in words]
    parts = {1: [0, 0, *numbers, 0], 2: [0, 0, *numbers], 3: [0, *numbers]}[len(numbers)]
  return ((parts[0] * 24 + parts[1]) * 60 + parts[2]) * 60 + parts[3]


def _ask(command: Sequence[str]) -> str:
  """Runs a client of Slurm; returns what it prints."""
  program = command[0]
  if shutil.which(program) is None:
    raise ClusterError(
      f"there is no {program} on this machine, so no Slurm to ask; run this on a login node of the "
      "cluster, or use --backend=local."
    )
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S
    )
  except subprocess.TimeoutExpired:
    raise ClusterError(
      f"{program} has not answered for {TIMEOUT_S:g} s; is slurmctld running? `scontrol ping` asks."
    ) from None
  if done.returncode != 0:
    said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
    raise ClusterError(f"`{shlex.join(command)}` fails: {said}")
  return done.stdout
