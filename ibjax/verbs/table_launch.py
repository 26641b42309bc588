"""`ibjax table EXPERIMENT --launch=...`: processes that share a table's work, here or by Slurm."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.report.results import Planned
from ibjax.verbs import array
from ibjax.verbs.array import WORKERS
from ibjax.verbs.table_work import Ended, How, unfinished, waiting

LAUNCHES = ("local", "slurm", "print")
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
  todo = unfinished(asked, how)
  if not todo:
    return True
  parallel = array.tasks(options["parallel"], len(todo), "groups (see --claim)")
  if options["launch"] == "local":
    _local(command, parallel, how.home, lambda: len(waiting(asked, how.path)))
    return True
  array.launch(command, parallel, how.home / WORKERS, options)
  if options["launch"] == "slurm" and options["go"]:
    print("The task that records the last run makes the tables; this command without --launch does")
    print("so too, at any time, and shows what is missing with --check.")
  return False


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
