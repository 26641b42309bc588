"""The work behind a table: groups of runs that any number of processes claim, train and record."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import pathlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ibjax.cluster import claims as claims_lib
from ibjax.cluster.claims import Claims, unit_name
from ibjax.cluster.heartbeat import Heartbeat
from ibjax.core.config import measures
from ibjax.core.errors import IbjaxError, WorkdirError
from ibjax.report import results as results_lib
from ibjax.report.results import Planned
from ibjax.report.runs import read_run
from ibjax.verbs import record

UNITS = ("program", "cell", "run")


class Ended(BaseException):
  """SIGTERM or Ctrl-C came, and all is saved; no `Exception`, which would look like a failure."""


@dataclasses.dataclass(frozen=True)
class How:
  """How a process works on a table.

  Attributes:
    home: where the runs of the budget are kept.
    path: results.jsonl.
    data_dir: where prepared data sets live, or None.
    unit: what is claimed and trained together, one of `UNITS`.
    stay: whether to wait for groups that others train; else to end when all that is left is held
      by a process that was seen alive, and to go on to the next group after an error.
    lost_after: seconds without a sign of its holder after which a group is taken over.
  """

  home: pathlib.Path
  path: pathlib.Path
  data_dir: str | None
  unit: str = "program"
  stay: bool = True
  lost_after: float = claims_lib.LOST_AFTER_S


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that one program trains together, claimed as one, and where their common state is kept."""

  key: str
  runs: tuple[Planned, ...]
  home: pathlib.Path


def group_key(config: Mapping[str, Any]) -> str:
  """What runs of one compiled program have in common.

  Args:
    config: the resolved config.

  Returns:
    A hash of the config without its traced numbers and seed.
  """
  from ibjax.programs.hyper import static_key  # it imports jax, which --check does without

  return static_key(config)


def train_group(group: Group, data_dir: str | None) -> None:
  """Trains the runs of a group together, or measures them; finished ones are left as they are.

  Args:
    group: runs of one program.
    data_dir: where prepared data sets live, or None.

  Raises:
    Stopped: SIGTERM or Ctrl-C; all is saved.
  """
  from ibjax.train import loop, measure, population  # jax starts here, not for a complete table

  if measures(group.runs[0].config):
    for one in group.runs:
      measure.run(one.config, one.folder, _about(one))
    return
  members = [
    population.Member(
      config=one.config,
      folder=one.folder,
      about=_about(one),
    )
    for one in group.runs
  ]
  with Heartbeat(group.home) as beat:  # which `ibjax status` shows of the table's folder
    try:
      population.train_members(members, group.home, data_dir, pulse=beat.pulse)
    except loop.Stopped:
      beat.end("stopped")
      raise
    beat.end("finished")


def _about(one: Planned) -> dict[str, Any]:
  return {
    "config_file": one.config_file,
    "overrides": list(one.overrides),
    "command": one.command,
  }


def groups(runs: Sequence[Planned], home: pathlib.Path, unit: str = "program") -> list[Group]:
  """Groups runs by the program that trains them, or into smaller parts.

  Args:
    runs: runs still to be made, and finished ones of this folder.
    home: where the runs of this budget are kept.
    unit: "program": all runs of one program; "cell": those of one cell; "run": each by itself.

  Returns:
    Groups in the order of their first run. Each keeps its common state in a folder named by its
    members, so that another set of members never meets it.
  """
  by_key: dict[tuple[str, ...], list[Planned]] = {}
  for one in runs:
    finer = {"program": (), "cell": (one.cell,), "run": (one.name,)}[unit]
    by_key.setdefault((group_key(one.config), *finer), []).append(one)
  found = []
  for (key, *_), some in by_key.items():
    names = "\n".join(f"{one.name} {one.config_hash} {one.code}" for one in some)
    members = hashlib.sha256(names.encode()).hexdigest()[:8]
    found.append(Group(key, tuple(some), home / ".populations" / f"{key[:12]}-{members}"))
  return found


def run_missing(chosen: Sequence[Planned], how: How) -> None:
  """Trains and records what has no result yet, group by group, beside any others who do so.

  A group is claimed before it is touched, so that each is trained once; one whose holder is gone is
  taken up from its checkpoint. What a process records it has confirmed to be its own.

  Args:
    chosen: the runs asked for.
    how: how to work.

  Raises:
    Ended: SIGTERM or Ctrl-C came; all is saved, and the same call continues.
    IbjaxError: a group cannot be trained.
  """
  todo = unfinished(chosen, how)
  if not todo:
    return
  _use_cores(todo)
  left = {f"group {n} of {len(todo)}": group for n, group in enumerate(todo, start=1)}
  errors: list[IbjaxError] = []
  told: set[str] = set()
  with Claims(how.home / claims_lib.FOLDER, lost_after=how.lost_after) as claims:
    while left:
      before = len(left)
      for name, group in list(left.items()):
        if not waiting(group.runs, how.path):
          del left[name]
        elif claims.take(units(group)):
          del left[name]
          try:
            _train(group, name, claims, how)
          except IbjaxError as error:
            if how.stay:
              raise
            print(f"{name} failed: {error}", flush=True)
            errors.append(error)
          finally:
            claims.release(units(group))
      if len(left) < before:
        continue
      for name in left.keys() - told:
        holder = next(filter(None, map(claims.holder, units(left[name]))), {})
        print(f"{name} is claimed by {claims_lib.describe(holder)}", flush=True)
        told.add(name)
      if not how.stay and all(any(map(claims.alive, units(group))) for group in left.values()):
        print(f"nothing is left to claim; others train {len(left)} of {len(todo)} groups")
        break
      time.sleep(min(2.0, how.lost_after / 8))
  if errors:
    raise errors[0]


def units(group: Group) -> list[str]:
  """What must be claimed for a group: each of its runs, so that groups that overlap meet.

  Args:
    group: the group.

  Returns:
    Names of claims.
  """
  return [unit_name(one.name) for one in group.runs]


def unfinished(chosen: Sequence[Planned], how: How) -> list[Group]:
  """The groups in which a run has no result yet.

  Args:
    chosen: the runs asked for.
    how: how to work.

  Returns:
    Groups. A finished run of this folder stays a member of its group, recorded or not: so a
    command that was stopped meets the same group when it continues, and so do two that run at once.
  """
  names = {one.name for one in waiting(chosen, how.path)}
  if not names:
    return []
  members = [one for one in chosen if one.name in names or _finished(one)]
  found = groups(members, how.home, how.unit)
  return [group for group in found if any(run.name in names for run in group.runs)]


def waiting(runs: Sequence[Planned], path: pathlib.Path) -> list[Planned]:
  """The runs that have no result yet.

  Args:
    runs: some of the experiment's.
    path: results.jsonl.

  Returns:
    Those without a line that counts.
  """
  found = results_lib.statuses(results_lib.read(path).lines, runs)
  return [status.run for status in found if status.line is None]


def _use_cores(todo: Sequence[Group]) -> None:
  training = [len(group.runs) for group in todo if not measures(group.runs[0].config)]
  if training:
    from ibjax.train.expand import use_cores  # jax starts here, not for a complete table

    use_cores(max(training))


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
  """Where nothing trains, SIGTERM ends what is inside in order: its claims are given up.

  Returns:
    A context.

  Raises:
    Ended: the signal came.
  """

  def end(number: int, frame: Any) -> None:
    raise Ended

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _train(group: Group, number: str, claims: Claims, how: How) -> None:
  """Trains what a claimed group still lacks, and records it."""
  from ibjax.train import loop

  own = waiting(group.runs, how.path)  # another process may have finished it a moment ago
  for one in own:
    if one.folder.is_dir():
      _move_if_other(one)
  if recorded := _record(own, how.path):
    print(f"recorded {len(recorded)} finished runs that were not in {how.path} yet")
  own = [one for one in own if one.name not in recorded]
  if not own:
    return
  print(f"{number}: {len(own)} runs of {len({one.cell for one in own})} cells", flush=True)
  stopped = False
  try:
    train_group(group, how.data_dir)
  except loop.Stopped:
    stopped = True
  with loop.StopSignal() as stop:  # what is finished is recorded before this process ends
    claims.confirm()
    done = _record(own, how.path)
  if stopped or stop.name:
    raise Ended
  for one in own:
    if one.name not in done:
      raise WorkdirError(f"{one.folder} holds no finished run of {one.name} after training it.")


def _finished(one: Planned) -> bool:
  return (one.folder / "result.json").is_file() and (one.folder / "manifest.json").is_file()


def _move_if_other(one: Planned) -> None:
  """A run of another config, code or data gives way; it is kept beside the new one."""
  if not (one.folder / "manifest.json").is_file():
    return
  manifest = read_run(one.folder).manifest
  try:
    reasons = results_lib.differences(manifest, one)
  except (KeyError, TypeError):
    reasons = ("manifest",)
  if not reasons:
    return
  number = 1
  while (aside := one.folder.with_name(f".{one.folder.name}.old{number}")).exists():
    number += 1
  one.folder.rename(aside)
  print(f"{one.name}: the run in its folder has another {' and '.join(reasons)}; kept as {aside}")


def _record(runs: Sequence[Planned], path: pathlib.Path) -> set[str]:
  """Adds the finished ones among the runs to the results; returns their names."""
  lines, names = [], set()
  for one in runs:
    if not _finished(one):
      continue
    run = read_run(one.folder)
    if results_lib.differences(run.manifest, one):
      raise WorkdirError(f"{one.folder} holds another run than {one.name}; move it away.")
    seconds = (one.folder / "result.json").stat().st_mtime
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
    lines.append(results_lib.line_of(one, {**run.manifest, "finished": when}, run.result))
    names.add(one.name)
  if lines:
    record.append(path, lines)
  return names
