"""`ibjax table experiments/PAPER`: a paper's tables from one command; runs what is missing."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.core.config import measures
from ibjax.core.errors import ConfigError, WorkdirError, unknown
from ibjax.report import experiment as experiment_lib
from ibjax.report import results as results_lib
from ibjax.report.results import Planned, Status
from ibjax.report.runs import read_run
from ibjax.report.statistics import KINDS
from ibjax.report.table import assemble
from ibjax.report.table_page import write_outputs
from ibjax.report.table_planes import collect
from ibjax.verbs.flags import given, parse, wants_help
from ibjax.verbs.table_plan import plan

EXIT_INCOMPLETE = 1


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that one compiled program trains together, and where their common state is kept."""

  key: str
  runs: tuple[Planned, ...]
  home: pathlib.Path


def run(argv: Sequence[str]) -> int:
  """Makes an experiment's tables; see `ibjax table --help`.

  Args:
    argv: the arguments after the verb: the experiment's folder, and flags.

  Returns:
    0 when the tables are made; 1 from --check when a run is missing or stale; 75 when SIGTERM or
    Ctrl-C stopped the runs and all is saved, so that the same command continues.

  Raises:
    IbjaxError: bad input, before anything runs; results already recorded are never touched.
  """
  values = _flags()
  if wants_help("table EXPERIMENT", values, argv, config=False):
    return 0
  rest = parse(values, "table", argv)
  options = given(values)
  experiment = experiment_lib.load(_folder(rest))
  if options["interval"] not in KINDS:
    raise ConfigError(unknown("interval", options["interval"], KINDS))
  budget = options["budget"]
  home = pathlib.Path(options["workdir"] or pathlib.Path("runs") / experiment.name) / budget
  experiment.budget(budget)
  chosen = experiment_lib.select(experiment.cells, options["only"])
  results = results_lib.read(experiment.folder / "results.jsonl")
  dry = options["check"] or options["dry_run"]
  planned = plan(experiment, budget, home, options["data_dir"], need_data=not dry)
  for warning in experiment.warnings:
    print(f"warning: {warning}")
  if results.torn and dry:
    print(
      f"warning: {results.path} ends in half a line ({len(results.torn)} bytes) of an interrupted "
      "write; it is not used, and the next run keeps it aside."
    )
  for cell in results_lib.orphans(results.lines, experiment.cells):
    print(f"warning: {results.path} has results of '{cell}', which is no cell any more.")
  found = results_lib.statuses(results.lines, planned.runs)
  assemble(experiment, found, options["interval"])  # what cannot be shown is told before it runs
  if options["dry_run"]:
    _show_groups([status for status in found if status.run.cell in chosen], home)
    return 0
  if not options["check"]:
    if moved := results_lib.set_aside(results):
      print(f"half a line at the end of {results.path} was moved to {moved}")
    code = _run_missing(
      [s.run for s in found if s.run.cell in chosen], found, results.path, home, options["data_dir"]
    )
    found = results_lib.statuses(results_lib.read(results.path).lines, planned.runs)
    collect(experiment.folder, budget, experiment.planes, planned.runs)
    if code:
      print("stopped; everything finished is recorded, and the same command continues")
      return code
  written = write_outputs(experiment, budget, found, options["interval"])
  _show(found, chosen, planned.not_checked, written)
  waiting = [s for s in found if s.run.cell in chosen and s.line is None]
  return EXIT_INCOMPLETE if options["check"] and waiting else 0


def _flags() -> flags.FlagValues:
  values = flags.FlagValues()
  flags.DEFINE_string("budget", "quick", "A budget of runs.py.", flag_values=values)
  flags.DEFINE_string("only", "", "Cells to run: GLOB[,GLOB].", flag_values=values)
  flags.DEFINE_bool(
    "check", False, "Run nothing; make the tables, exit 1 if one is incomplete.", flag_values=values
  )
  flags.DEFINE_bool("dry_run", False, "Show what would run, and stop.", flag_values=values)
  flags.DEFINE_string("interval", "t", "Over seeds: t or bootstrap.", flag_values=values)
  flags.DEFINE_string(
    "workdir", None, "Where runs are kept; runs/PAPER when left out.", flag_values=values
  )
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  return values


def _folder(rest: Sequence[str]) -> pathlib.Path:
  if len(rest) != 1:
    there = sorted(str(path.parent) for path in pathlib.Path("experiments").glob("*/runs.py"))
    has = f" There are: {', '.join(there)}." if there else ""
    found = f"; got {len(rest)} arguments: {' '.join(rest)}" if rest else ""
    raise ConfigError(
      f"`ibjax table` needs one experiment's folder, e.g. experiments/vib{found}.{has}"
    )
  folder = pathlib.Path(rest[0])
  if (
    not folder.exists()
    and len(folder.parts) == 1
    and (pathlib.Path("experiments") / folder).is_dir()
  ):
    return pathlib.Path("experiments") / folder
  return folder


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
  from ibjax.train import measure, population  # jax starts here, not for a complete table

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
  population.train_members(members, group.home, data_dir)


def _about(one: Planned) -> dict[str, Any]:
  return {
    "config_file": one.config_file,
    "overrides": list(one.overrides),
    "command": one.command,
  }


def groups(runs: Sequence[Planned], home: pathlib.Path) -> list[Group]:
  """Groups runs by the program that trains them.

  Args:
    runs: runs still to be made, and finished ones of this folder.
    home: where the runs of this budget are kept.

  Returns:
    Groups in the order of their first run. Each keeps its common state in a folder named by its
    members, so that another set of members never meets it.
  """
  by_key: dict[str, list[Planned]] = {}
  for one in runs:
    by_key.setdefault(group_key(one.config), []).append(one)
  found = []
  for key, some in by_key.items():
    names = "\n".join(f"{one.name} {one.config_hash} {one.code}" for one in some)
    members = hashlib.sha256(names.encode()).hexdigest()[:8]
    found.append(Group(key, tuple(some), home / ".populations" / f"{key[:12]}-{members}"))
  return found


def _run_missing(
  chosen: Sequence[Planned],
  found: Sequence[Status],
  path: pathlib.Path,
  home: pathlib.Path,
  data_dir: str | None,
) -> int:
  """Records what is finished, then trains group by group; returns 0, or 75 when stopped."""
  waiting = {status.run.name for status in found if status.line is None}
  # A finished run of this folder stays a member of its group, recorded or not: so a command that
  # was stopped meets the same group when it continues.
  members = [one for one in chosen if one.name in waiting or _finished(one)]
  for one in members:
    if one.name in waiting and one.folder.is_dir():
      _move_if_other(one)
  recorded = _record([one for one in members if one.name in waiting], path)
  if recorded:
    print(f"recorded {len(recorded)} finished runs that were not in {path} yet")
  waiting -= recorded
  todo = [group for group in groups(members, home) if any(r.name in waiting for r in group.runs)]
  if not todo:
    return 0
  from ibjax.train import loop
  from ibjax.train.expand import use_cores

  training = [len(group.runs) for group in todo if not measures(group.runs[0].config)]
  if training:
    use_cores(max(training))
  for number, group in enumerate(todo, start=1):
    own = [one for one in group.runs if one.name in waiting]
    cells = len({one.cell for one in own})
    print(f"group {number} of {len(todo)}: {len(own)} runs of {cells} cells", flush=True)
    try:
      train_group(group, data_dir)
    except loop.Stopped:
      _record(own, path)
      return loop.EXIT_STOPPED
    done = _record(own, path)
    for one in own:
      if one.name not in done:
        raise WorkdirError(f"{one.folder} holds no finished run of {one.name} after training it.")
  return 0


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
    results_lib.append(path, lines)
  return names


def _show_groups(found: Sequence[Status], home: pathlib.Path) -> None:
  todo = [status.run for status in found if status.line is None]
  parts = groups(todo, home)
  for number, group in enumerate(parts, start=1):
    print(f"group {number} of {len(parts)}: {len(group.runs)} members, program {group.key[:12]}")
    for cell in dict.fromkeys(one.cell for one in group.runs):
      seeds = ", ".join(str(one.seed) for one in group.runs if one.cell == cell)
      print(f"  {cell}  seeds {seeds}")
  print(f"{len(todo)} runs to make, {len(found) - len(todo)} there")


def _show(
  found: Sequence[Status],
  chosen: Sequence[str],
  not_checked: Sequence[str],
  written: Sequence[pathlib.Path],
) -> None:
  for status in found:
    if status.line is None and status.run.cell in chosen:
      why = f" (another {' and '.join(status.stale)})" if status.stale else ""
      print(f"{status.state:<8} {status.run.name}{why}")
  for spec in not_checked:
    print(f"data not checked: '{spec}' is not on this machine")
  for path in written:
    print(f"{path.suffix[1:]:<8} {path}")
