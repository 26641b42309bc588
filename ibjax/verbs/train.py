"""`ibjax train`: a run or a population from a config, continued if it was started before.

A config whose program measures makes a run folder too, by `ibjax.train.measure`.
"""

from __future__ import annotations

import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import flags

from ibjax.cluster import processes
from ibjax.cluster.heartbeat import Heartbeat
from ibjax.core import files
from ibjax.core.config import measures
from ibjax.core.errors import ConfigError
from ibjax.report.page import write_page
from ibjax.report.row import format_row
from ibjax.report.runs import read_run
from ibjax.train import loop, measure, outcome, records
from ibjax.train.assessing import assessor
from ibjax.train.dry_run import describe
from ibjax.train.setup import Setup, build
from ibjax.train.warm_start import take_over, warm_state
from ibjax.verbs import mesh_flag
from ibjax.verbs import population as population_lib
from ibjax.verbs.flags import config_path, given, load_config, overrides, wants_help

CONTINUE = (
  "Choose another --workdir, undo the change, or pass --allow_config_change to continue that run "
  "under the new config."
)


def run(argv: Sequence[str]) -> int:
  """Trains; see `ibjax train --help`.

  Args:
    argv: the arguments after the verb.

  Returns:
    0 when the run is finished; 75 when SIGTERM or Ctrl-C stopped it and all is saved, so that
    the same command continues.

  Raises:
    IbjaxError: bad input, before training starts; or a stop that says what to do.
  """
  values = flags.FlagValues()
  flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  flags.DEFINE_bool("dry_run", False, "Show what would run, and stop.", flag_values=values)
  flags.DEFINE_bool(
    "allow_config_change", False, "Continue a run under another config.", flag_values=values
  )
  processes.define_flags(values)
  mesh_flag.define(values)
  population_lib.define_flags(values)
  if wants_help("train", values, argv, config=True):
    return 0
  argv = mesh_flag.spelled_out(argv)
  config = load_config("train", values, argv)
  options = given(values)
  population = population_lib.requested(config, options)
  if options["workdir"] is None and not options["dry_run"]:
    raise ConfigError("`ibjax train` needs --workdir=FOLDER, where the run keeps all it writes.")
  mesh_flag.stand_in(config, options)
  if population:
    return population_lib.run(config, options, argv)
  processes.join(options)
  if options["dry_run"]:
    print(
      measure.describe(config) if measures(config) else describe(build(config, options["data_dir"]))
    )
    return 0
  return _one(config, options, argv)


def _one(config: dict[str, Any], options: Mapping[str, Any], argv: Sequence[str]) -> int:
  workdir = pathlib.Path(options["workdir"])
  records.prepare_workdir(workdir)
  old = records.read_manifest(workdir)
  finished = old is not None and old["config"] == config and (workdir / "result.json").exists()
  session = processes.agree(config, workdir, [old and old["config_hash"], finished], options)
  if old is not None and not options["allow_config_change"]:
    outcome.check_same(old["config"], config, workdir, CONTINUE)
  if finished:
    if jax.process_index() == 0:
      show(workdir, "this run is finished; its row:")
    return 0
  about = {
    "config_file": config_path(argv),
    "overrides": overrides(argv),
    "command": shlex.join(["ibjax", "train", *argv]),
  }
  with processes.begin(workdir, session, options) as beat:
    if measures(config):
      code = _measure(config, workdir, about)
    else:
      code = _train(config, workdir, about, options["data_dir"], old, beat)
    beat.end("finished" if code == 0 else "stopped")
  return code


def _train(
  config: dict[str, Any],
  workdir: pathlib.Path,
  about: Mapping[str, Any],
  data_dir: str | None,
  old: Mapping[str, Any] | None,
  beat: Heartbeat,
) -> int:
  setup = build(config, data_dir)
  # Read before anything is written: a run to start from may be missing.
  given_state = warm_state(setup, config, workdir)
  if jax.process_index() == 0:
    manifest = outcome.make_manifest(setup, config, about, old, records.session())
    files.write_json(workdir / "manifest.json", manifest)
    (workdir / "result.json").unlink(missing_ok=True)

  def begin() -> Any:
    fresh = setup.runner.init(setup.hyper)
    return fresh if given_state is None else take_over(fresh, given_state)

  try:
    state, lines, timing = loop.train(setup, workdir, begin, beat.pulse)
  except loop.Stopped:
    return loop.EXIT_STOPPED
  finish(setup, state, lines, timing, workdir)
  return 0


def _measure(config: dict[str, Any], workdir: pathlib.Path, about: Mapping[str, Any]) -> int:
  if jax.process_count() > 1:
    raise ConfigError(
      f"config.program='{config['program']}' measures, in one process; start it without "
      "--distributed and --num_processes (the cells of a table are spread by `ibjax table`)."
    )
  try:
    measure.run(config, workdir, about)
  except loop.Stopped:
    return loop.EXIT_STOPPED
  write_page(workdir)
  show(workdir, "")
  return 0


def finish(
  setup: Setup,
  state: Any,
  lines: records.Records,
  timing: dict[str, float],
  workdir: pathlib.Path,
) -> None:
  """Writes predictions, the final row, pictures and the report, and prints where they are.

  Every process must call it, as all take part in the predictions; only process 0 writes.

  Args:
    setup: the run.
    state: the state to report.
    lines: the run's records; closed here.
    timing: {"train_s", "steps_per_s", "step"}, as `loop.train` gives it.
    workdir: the run's folder.
  """
  values = loop.predictions(setup, state, "test")
  last = {**lines.last, **loop.evaluate_train_split(setup, state)}
  last |= assessor(setup)(setup.config, state, workdir)
  if jax.process_index() != 0:
    return
  lines.close()
  outcome.write_results(setup, setup.config, values, last, timing, workdir)
  write_page(workdir)
  show(workdir, "")


def show(workdir: pathlib.Path, heading: str) -> None:
  """Prints the row and the paths of what was made.

  Args:
    workdir: the run's folder.
    heading: a line printed first; "" for none.
  """
  print(*([heading] if heading else []), format_row(read_run(workdir)), sep="\n")
  made = [*sorted(workdir.glob("*.png")), workdir / "report.html", workdir / "checkpoints"]
  for path in made:
    if path.exists():
      print(f"{'picture' if path.suffix == '.png' else path.stem:<12} {path}")
  sys.stdout.flush()
