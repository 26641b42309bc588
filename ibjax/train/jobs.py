"""Runs as processes of their own: checked beforehand, so many at a time, stopped together."""

from __future__ import annotations

import dataclasses
import datetime
import multiprocessing
import os
import pathlib
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ibjax.cluster import offspring
from ibjax.core.config import measures
from ibjax.core.errors import ConfigError, IbjaxError, WorkdirError
from ibjax.train import measure
from ibjax.train.loop import EXIT_STOPPED, StopSignal
from ibjax.train.setup import build

POLL_S = 0.1
LOOK_S = 1.0  # between looks at jobs that others run
START, DONE, HELD, WAIT = "start", "done", "held", "wait"  # what may become of a waiting job


@dataclasses.dataclass(frozen=True)
class Job:
  """One process to run.

  Attributes:
    name: for messages.
    command: the program and its arguments.
    log: the file its output is appended to; its folder is made.
  """

  name: str
  command: tuple[str, ...]
  log: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a job ended.

  Attributes:
    job: the job.
    code: its exit code; minus the signal's number when a signal ended it.
    state: "done", "stopped" (saved; the same command continues) or "failed".
  """

  job: Job
  code: int
  state: str

  def reason(self) -> str:
    """Says why the job ended. Returns: "exit code 2" or "killed by SIGKILL"."""
    if self.code < 0:
      return f"killed by {signal.Signals(-self.code).name}"
    return f"exit code {self.code}"


def run_jobs(
  jobs: Sequence[Job],
  parallel: int,
  stop: StopSignal,
  ended: Callable[[Outcome], None],
  say: Callable[[str], None],
  admit: Callable[[Job], str] = lambda job: START,
) -> list[Outcome]:
  """Runs jobs, so many at a time; a job that fails does not keep the others from running.

  When the signal comes, the running jobs get SIGTERM and are waited for; no more are started.

  Args:
    jobs: what to run, in this order.
    parallel: how many at a time.
    stop: entered already.
    ended: called when a job has ended.
    say: prints a line.
    admit: asked before a job is started; gives `START`, `DONE` (it needs no start any more),
      `HELD` (another process, seen alive, runs it) or `WAIT` (another may run it). No more is
      waited for when nothing runs here and all that is left is held.

  Returns:
    The outcomes of the jobs that were started, in the order in which they ended.

  Raises:
    WorkdirError: a log cannot be written. Jobs still running end with this process.
  """
  waiting, outcomes = list(jobs), []
  running: dict[subprocess.Popen[bytes], Job] = {}
  told, next_look = False, 0.0
  try:
    while running or (waiting and not stop.name):
      answers = []
      if waiting and time.monotonic() >= next_look:
        for job in list(waiting):
          if len(running) >= parallel or stop.name:
            break
          answers.append(admit(job))
          if answers[-1] in (START, DONE):
            waiting.remove(job)
          if answers[-1] == START:
            running[_start(job)] = job
        if set(answers) <= {HELD, WAIT}:
          next_look = time.monotonic() + LOOK_S * bool(answers)
      if not running and answers and set(answers) == {HELD}:
        break
      if stop.name and not told:
        told = True
        for process in running:
          process.terminate()
        say(f"{stop.name}: waiting for {len(running)} running to save; no more are started")
      for process in [process for process in running if process.poll() is not None]:
        job = running.pop(process)
        outcomes.append(Outcome(job, process.returncode, _state(process.returncode, told)))
        ended(outcomes[-1])
      if running or waiting:
        time.sleep(POLL_S)
  finally:
    for process in running:  # only after an error or a second Ctrl-C
      process.terminate()
  return outcomes


def _start(job: Job) -> subprocess.Popen[bytes]:
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  try:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
      log.write(f"# {now}  {shlex.join(job.command)}\n".encode())
      log.flush()
      # A session of its own, so that Ctrl-C on the terminal reaches it once, as our SIGTERM.
      return subprocess.Popen(
        job.command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, **offspring.environment()},
      )
  except OSError as error:
    raise WorkdirError(
      f"cannot start {job.name} with its log {job.log}: {error.strerror or error}."
    ) from error


def _state(code: int, told: bool) -> str:
  if code == 0:
    return "done"
  # Python dies by the signal itself before a run has begun to listen; nothing is lost then.
  if code == EXIT_STOPPED or (told and code == -signal.SIGTERM):
    return "stopped"
  return "failed"


def last_lines(path: pathlib.Path, count: int) -> list[str]:
  """Returns the last lines of a log that are not blank.

  Args:
    path: a text file.
    count: how many at most.

  Returns:
    Lines without their ends; none when the file cannot be read.
  """
  try:
    with open(path, "rb") as file:
      file.seek(max(0, file.seek(0, 2) - 64 * 1024))
      text = file.read().decode(errors="replace")
  except OSError:
    return []
  return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def check_configs(
  configs: Mapping[str, Mapping[str, Any]], data_dir: str | None, stop: StopSignal
) -> set[str] | None:
  """Builds every run without starting it, in another process that gives its devices back.

  Args:
    configs: name -> resolved config.
    data_dir: where prepared data sets live.
    stop: entered already; ends the check early.

  Returns:
    The names of the splits that all runs have; None when stopped.

  Raises:
    IbjaxError: a run cannot be built; names it.
  """
  context = multiprocessing.get_context("spawn")
  answers, theirs = context.Pipe(duplex=False)
  process = context.Process(target=_check, args=(theirs, configs, data_dir), daemon=True)
  # It is born deaf to Ctrl-C, which the terminal sends to both: this process decides.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    process.start()
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
  theirs.close()
  try:
    while not answers.poll(POLL_S):
      if stop.name:
        return None
    answer = answers.recv()
  except EOFError:
    raise ConfigError("the check of the configs died; its output is above.") from None
  finally:
    process.terminate()
    process.join()
  if isinstance(answer, Exception):
    raise answer
  return answer


def _check(answers: Connection, configs: Mapping[str, Any], data_dir: str | None) -> None:
  splits: set[str] | None = None
  for name, config in configs.items():
    try:
      if measures(config):
        measure.build(config)
        continue
      found = set(build(config, data_dir).splits)
    except IbjaxError as error:
      answers.send(type(error)(f"{name}: {error}"))
      return
    splits = found if splits is None else splits & found
  answers.send(splits or set())
