"""`ibjax table EXPERIMENT --launch=...`: processes that share a table's work, here or by Slurm."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ibjax.cluster import slurm
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.core.files import write_text
from ibjax.report.results import Planned
from ibjax.verbs.table_work import Ended, How, unfinished, waiting

LAUNCHES = ("local", "slurm", "print")
WORKERS = ".workers"  # beside the runs of a budget: logs of workers, and the script of a job
_ROUNDS = 3  # of workers that add nothing, until that is an error
_PASSED_ON = ("budget", "only", "interval", "workdir", "data_dir", "claim", "lost_after")


def worker_command(folder: pathlib.Path, options: Mapping[str, Any]) -> tuple[str, ...]:
  """The command of one of several processes that share a table's work.

  Args:
    folder: the experiment's.
    options: the flags of `ibjax table`.

  Returns:
    Words.
  """
  command = [sys.executable, "-m", "ibjax.main", "table", str(folder), "--worker"]
  given = {name: options[name] for name in _PASSED_ON if options[name] not in (None, "")}
  return (*command, *(f"--{name}={value}" for name, value in given.items()))


def run(
  command: Sequence[str], options: Mapping[str, Any], how: How, asked: Sequence[Planned]
) -> bool:
  """Starts workers, or says how; those of this machine are waited for.

  Args:
    command: what each runs.
    options: the flags of `ibjax table`.
    how: how the table is worked on.
    asked: its runs.

  Returns:
    True when every run has its result; False when they are made elsewhere, or are still to be.

  Raises:
    ConfigError: a flag that does not fit.
    WorkdirError: the script cannot be written, or a worker failed.
    ClusterError: there is no Slurm here, or it refuses the job.
    Ended: SIGTERM or Ctrl-C came; the workers have saved.
  """
  if options["worker"]:
    raise ConfigError("--worker is what --launch gives the processes it starts; leave one away.")
  if options["parallel"] < 1:
    raise ConfigError(f"--parallel={options['parallel']} must be at least 1.")
  for flag, unset in (("go", False), ("sbatch", "")):
    if options[flag] != unset and options["launch"] == "local":
      raise ConfigError(f"--{flag} is for --launch=slurm; workers of this machine start at once.")
  todo = unfinished(asked, how)
  if not todo:
    return True
  parallel = min(options["parallel"], len(todo))
  if parallel < options["parallel"]:
    _say(f"{len(todo)} groups are left to claim, so {parallel} workers suffice (see --claim)")
  if options["launch"] == "local":
    _local(command, parallel, how.home, lambda: len(waiting(asked, how.path)))
    return True
  _slurm(command, parallel, how.home, options)
  return False


def _slurm(
  command: Sequence[str], parallel: int, home: pathlib.Path, options: Mapping[str, Any]
) -> None:
  """Writes the script of an array, and submits it where that is asked for."""
  folder = (home / WORKERS).absolute()
  request = slurm.Request(
    command=tuple(command),
    folder=folder,
    directory=pathlib.Path.cwd(),
    array=f"0-{parallel - 1}",
    **_asked_of_sbatch(options["sbatch"]),
  )
  script = slurm.render(request)
  if options["launch"] == "print":
    print(script, end="")
    return
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise WorkdirError(f"cannot make {folder}: {error.strerror or error}.") from error
  path = folder / "array.sh"
  write_text(path, script)
  print(f"script   {path}")
  if not options["go"]:
    print(f"review it, then: sbatch {shlex.quote(str(path))}  (or add --go to this command)")
    return
  print(f"array    {slurm.submit(path)}, {parallel} tasks; logs {folder}/slurm-*.log")
  print("The task that records the last run makes the tables; this command without --launch does")
  print("so too, at any time, and shows what is missing with --check.")


def _asked_of_sbatch(text: str) -> dict[str, Any]:
  """Options of sbatch as fields of a request; what it has no field for is passed on as it is."""
  fields = {field.name: field.type for field in dataclasses.fields(slurm.Request)}
  fields = {name: kind for name, kind in fields.items() if kind in ("str", "int", "bool")}
  found: dict[str, Any] = {"name": "ibjax-table", "extra": ()}
  for word in shlex.split(text):
    key, equals, value = word.removeprefix("--").partition("=")
    name = {"job-name": "name"}.get(key, key.replace("-", "_"))
    if not word.startswith("--"):
      raise ConfigError(f"--sbatch: found '{word}'; write its options as --name=value.")
    if name in ("array", "nodes", "tasks_per_node", "ntasks", "ntasks_per_node"):
      raise ConfigError(f"--sbatch: {word} is what --parallel decides: a task is one process.")
    if name not in fields:
      found["extra"] += (word,)
    elif fields[name] == "int":
      if not value.isdigit():
        raise ConfigError(f"--sbatch: --{key}={value} must be a whole number.")
      found[name] = int(value)
    else:
      found[name] = value if fields[name] == "str" else True
    if name in fields and fields[name] != "bool" and not equals:
      raise ConfigError(f"--sbatch: {word} needs a value, --{key}=VALUE.")
  return found


def _local(
  command: Sequence[str], parallel: int, home: pathlib.Path, left: Callable[[], int]
) -> None:
  """Runs workers on this machine until no run is left; starts them again where some were killed."""
  from ibjax.train import jobs
  from ibjax.train.loop import StopSignal

  folder = home / WORKERS
  all_jobs = [jobs.Job(f"worker {n}", tuple(command), folder / f"{n}.log") for n in range(parallel)]

  def ended(outcome: jobs.Outcome) -> None:
    if outcome.state != "done":
      _say(f"{outcome.job.name} {outcome.state} ({outcome.reason()}); {left()} runs are left")

  idle, before = 0, left()
  with StopSignal() as stop:
    while before and not stop.name:
      _say(f"{before} runs to make, {parallel} workers; their logs are {folder}/*.log")
      outcomes = jobs.run_jobs(all_jobs, parallel, stop, ended, _say)
      after = left()
      idle, before = (0 if after < before else idle + 1), after
      # Ended by a signal or with "the same command continues" is what happens to processes.
      bad = [one for one in outcomes if one.state == "failed" and one.code > 0]
      if after and not stop.name and (bad or idle == _ROUNDS):
        worst = (bad or outcomes)[0]
        lines = "\n    ".join(jobs.last_lines(worst.job.log, 8))
        raise WorkdirError(
          f"{worst.job.name} ended with {worst.reason()}, and {after} runs have no result. What is "
          f"finished is kept; the same command goes on. Its log, {worst.job.log}, ends:\n"
          f"    {lines}"
        )
  if stop.name:
    raise Ended


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
