"""`ibjax table experiments/PAPER`: a paper's tables from one command; runs what is missing."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from ibjax.cluster import claims
from ibjax.cluster.watch import EXIT_STOPPED
from ibjax.core.errors import ConfigError, unknown
from ibjax.report import experiment as experiment_lib
from ibjax.report import results as results_lib
from ibjax.report.results import Status
from ibjax.report.statistics import KINDS
from ibjax.report.table import assemble
from ibjax.report.table_page import write_outputs
from ibjax.report.table_planes import collect
from ibjax.verbs import array, record
from ibjax.verbs import table_launch as launch
from ibjax.verbs import table_work as work
from ibjax.verbs.flags import given, parse, wants_help
from ibjax.verbs.table_plan import plan

EXIT_INCOMPLETE = 1


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
  array.check(options, launch.LAUNCHES)
  for flag, known in (("interval", KINDS), ("claim", work.UNITS)):
    if options[flag] not in known:
      raise ConfigError(unknown(flag, options[flag], known))
  if options["lost_after"] <= 0:
    raise ConfigError(f"--lost_after={options['lost_after']:g} must be more than 0 seconds.")
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
    _show_groups([status for status in found if status.run.cell in chosen], home, options["claim"])
    return 0
  if not options["check"]:
    if moved := record.set_aside(results.path):
      print(f"half a line at the end of {results.path} was moved to {moved}")
    how = work.How(
      home=home,
      path=results.path,
      data_dir=options["data_dir"],
      unit=options["claim"],
      stay=not options["worker"],
      lost_after=options["lost_after"],
    )
    asked = [run for run in planned.runs if run.cell in chosen]
    try:
      if options["launch"]:
        command = launch.worker_command(experiment.folder, options)
        if not launch.run(command, options, how, asked):
          return 0
      else:
        with work.ends_on_sigterm():
          work.run_missing(asked, how)
    except work.Ended:
      collect(experiment.folder, budget, experiment.planes, planned.runs)
      print("stopped; everything finished is recorded, and the same command continues")
      return EXIT_STOPPED
    found = results_lib.statuses(results_lib.read(results.path).lines, planned.runs)
  waiting = [s for s in found if s.run.cell in chosen and s.line is None]
  if options["worker"] and waiting:
    print(f"{len(waiting)} runs are left to others; the last of them makes the tables")
    return 0
  if options["check"]:
    written = write_outputs(experiment, budget, found, options["interval"])
  else:
    with claims.lock(home / claims.FOLDER, "tables"):  # two may have recorded the last runs at once
      collect(experiment.folder, budget, experiment.planes, planned.runs)
      written = write_outputs(experiment, budget, found, options["interval"])
  _show(found, chosen, planned.not_checked, written)
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
  text = f"What a process claims and trains at a time: the runs of a {', a '.join(work.UNITS)}."
  flags.DEFINE_string("claim", "program", text, flag_values=values)
  text = "Seconds without a sign of a process after which its claims are taken over."
  flags.DEFINE_float("lost_after", claims.LOST_AFTER_S, text, flag_values=values)
  array.define(values, launch.LAUNCHES)
  text = "Train what no other process does, and end when nothing is left to claim."
  flags.DEFINE_bool("worker", False, text, flag_values=values)
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


def _show_groups(found: Sequence[Status], home: pathlib.Path, unit: str) -> None:
  todo = [status.run for status in found if status.line is None]
  parts = work.groups(todo, home, unit)
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
