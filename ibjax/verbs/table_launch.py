"""`ibjax table EXPERIMENT --launch=...`: processes that share a table's work, here or by Slurm."""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.report.results import Planned
from ibjax.verbs import array
from ibjax.verbs.array import WORKERS
from ibjax.verbs.table_work import Ended, How, unfinished, waiting

if TYPE_CHECKING:
  from ibjax.train.loop import StopSignal  # it imports jax, which a complete table does without

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
    _local(command, parallel, how, lambda: len(waiting(asked, how.path)))
    return True
  array.launch(command, parallel, how.home / WORKERS, options)
  if options["launch"] == "slurm" and options["go"]:
    print("The task that records the last run makes the tables; this command without --launch does")
    print("so too, at any time, and shows what is missing with --check.")
  return False


def _local(command: Sequence[str], parallel: int, how: How, left: Callable[[], int]) -> None:
  """Runs workers on this machine until no run is left; starts them again where some were killed."""
  from ibjax.train import jobs
  from ibjax.train.loop import StopSignal

  folder = how.home / WORKERS
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
      others = all(one.code == 0 for one in outcomes)  # whose claims they left alone
      idle, before = (0 if after < before or others else idle + 1), after
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
      if after and others and not stop.name:
        before = _wait(after, how, left, stop)
  if stop.name:
    raise Ended


def _wait(missing: int, how: How, left: Callable[[], int], stop: StopSignal) -> int:
  """Waits while other processes make what is left, as long as they may be silent."""
  _say(f"{missing} runs are made by other processes; waiting for them")
  until = time.monotonic() + how.lost_after
  while (missing := left()) and time.monotonic() < until and not stop.name:
    time.sleep(min(1.0, how.lost_after))
  return missing


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
