"""`ibjax sweep`: runs of one config over axes that may change shapes, a process each."""

from __future__ import annotations

import collections
import pathlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.cluster import claims as claims_lib
from ibjax.cluster.claims import Claims, unit_name
from ibjax.core import axes as axes_lib
from ibjax.core.config import config_hash, measures
from ibjax.core.draws import DRAWS, Axis, Range, sampled, unique
from ibjax.core.errors import ConfigError, unknown
from ibjax.programs.hyper import static_key, traced
from ibjax.report.ranking import ranking
from ibjax.report.row import format_row
from ibjax.report.runs import read_run
from ibjax.train import jobs as jobs_lib
from ibjax.train import plan, records
from ibjax.train.loop import EXIT_STOPPED, StopSignal
from ibjax.train.progress import clock
from ibjax.verbs import array
from ibjax.verbs import flags as flags_lib

KINDS = ("grid", *DRAWS)
METRIC = "validation/err_frac"
LAUNCHES = ("slurm", "print")  # on one machine it is --jobs, or the same command twice


def run(argv: Sequence[str]) -> int:
  """Runs a sweep, or continues it; see `ibjax sweep --help`.

  Args:
    argv: the arguments after the verb.

  Returns:
    0 when every run is finished, or is trained by others who share the sweep; 1 when some failed;
    75 when SIGTERM or Ctrl-C stopped it and all is saved, so that the same command continues.

  Raises:
    IbjaxError: bad input, before any run is started.
  """
  values = _flags()
  if flags_lib.wants_help("sweep", values, argv, config=True):
    return 0
  base = flags_lib.load_config("sweep", values, argv)
  options = flags_lib.given(values)
  axes = _axes(options["axes"], argv)
  points = plan.name_points(_draw(axes, options))
  _check_metric(options["metric"])
  array.check(options, LAUNCHES)
  if options["jobs"] < 1:
    raise ConfigError(f"--jobs={options['jobs']} must be at least 1.")
  if options["dry_run"]:
    return _dry_run(axes, points, argv, options)
  if options["workdir"] is None:
    raise ConfigError("`ibjax sweep` needs --workdir=FOLDER; each run gets a folder inside it.")
  workdir = pathlib.Path(options["workdir"])
  records.prepare_workdir(workdir)
  request = {
    "kind": options["kind"],
    "points": None if options["kind"] == "grid" else options["points"],
    "seed": None if options["kind"] == "grid" else options["seed"],
    "axes": {key: axes_lib.to_text([(key, found)]).partition("=")[2] for key, found in axes},
    "config": base,
  }
  shared = workdir / claims_lib.FOLDER
  with StopSignal() as stop:
    points = plan.read_or_make(workdir, request, points)
    configs = {point.folder: _resolve(point, argv) for point in points}
    hashes = {folder: config_hash(config) for folder, config in configs.items()}
    done = [p for p in points if plan.finished(workdir / p.folder, hashes[p.folder])]
    left = [point for point in points if point not in done]
    if left:
      _say(f"checking {len(left)} of {len(points)} points")
      if not _check({p.folder: configs[p.folder] for p in left}, options, stop):
        _say(f"{stop.name}: nothing was started; the same command starts again")
        return EXIT_STOPPED
    about = {
      "command": shlex.join(["ibjax", "sweep", *argv]),
      "config_file": flags_lib.config_path(argv),
      "overrides": flags_lib.overrides(argv),
    }
    if options["launch"] and left:
      command = (sys.executable, "-m", "ibjax.main", "sweep", *array.without(argv))
      size = array.tasks(options["parallel"], len(left), "points")
      array.launch(command, size, workdir / array.WORKERS, options)
      return 0
    with claims_lib.lock(shared, "sweep.json"):
      plan.read_or_make(workdir, request, points)  # another one may have begun meanwhile
      plan.write(workdir, request, points, about)
    _hint_population(axes, list(configs.values()))
    job_list = [_job(workdir, point, argv, options["data_dir"]) for point in left]
    progress = _Progress(len(points), len(done))
    with Claims(shared) as claims:

      def admit(job: jobs_lib.Job) -> str:
        unit = unit_name(job.name)
        took = claims.take([unit])
        if plan.finished(workdir / job.name, hashes[job.name]):  # by another process
          claims.release([unit])
          progress.found(job)
          return jobs_lib.DONE
        if took:
          return jobs_lib.START
        return jobs_lib.HELD if claims.alive(unit) else jobs_lib.WAIT

      def ended(outcome: jobs_lib.Outcome) -> None:
        claims.release([unit_name(outcome.job.name)])
        progress.ended(outcome)

      outcomes = jobs_lib.run_jobs(job_list, options["jobs"], stop, ended, _say, admit)
  return _finish(workdir, points, outcomes, stop.name, options)


def _flags() -> flags.FlagValues:
  values = flags.FlagValues()
  text = 'What varies: "key=a,b;key=(32,),(64,64)"; a range is key=low:high[:int][:log].'
  flags.DEFINE_string("axes", "", text, flag_values=values)
  flags.DEFINE_string("workdir", None, "The sweep's folder.", flag_values=values)
  flags.DEFINE_string("kind", "grid", f"How points are chosen: {KINDS}.", flag_values=values)
  flags.DEFINE_integer("points", None, "Points to draw (20).", flag_values=values)
  flags.DEFINE_integer("seed", None, "Seed of the draws (0).", flag_values=values)
  flags.DEFINE_integer("jobs", 1, "Runs at a time; they share the devices.", flag_values=values)
  text = f"Validation metric to sort by, lowest first ({METRIC})."
  flags.DEFINE_string("metric", None, text, flag_values=values)
  flags.DEFINE_bool("dry_run", False, "Check and show the points, and stop.", flag_values=values)
  array.define(values, LAUNCHES)
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  return values


def _axes(text: str, argv: Sequence[str]) -> tuple[Axis, ...]:
  path = flags_lib.config_path(argv)
  assert path is not None  # load_config has been there
  axes = axes_lib.typed(axes_lib.parse_axes(text), flags_lib.load_bare(path))
  fixed = {item.partition("=")[0] for item in flags_lib.overrides(argv)}
  for key, _ in axes:
    if f"config.{key}" in fixed:
      raise ConfigError(f"'{key}' is an axis, and fixed by --config.{key} too; remove one.")
  return axes


def _draw(axes: tuple[Axis, ...], options: dict[str, Any]) -> list[dict[str, Any]]:
  """Makes the points; puts the defaults of --points and --seed into the options."""
  kind = options["kind"]
  if kind not in KINDS:
    raise ConfigError(unknown("--kind", kind, KINDS))
  if kind == "grid":
    for name, hint in (("points", ""), ("seed", " The seed of the runs is --config.seed.")):
      if options[name] is not None:
        raise ConfigError(f"--{name} is for --kind=random or lhs; a grid draws nothing.{hint}")
    return axes_lib.points(axes)
  options["points"] = 20 if options["points"] is None else options["points"]
  options["seed"] = options["seed"] or 0
  drawn = sampled(axes, kind, options["points"], options["seed"])
  found = unique(drawn)
  if len(found) < len(drawn):
    _say(f"{len(drawn) - len(found)} of {len(drawn)} points drawn repeat others and are left out")
  return found


def _check_metric(metric: str | None) -> None:
  if metric is not None and not metric.startswith("validation/"):
    raise ConfigError(
      f"--metric={metric}: selection uses validation data; write validation/NAME, e.g. {METRIC}."
    )


def _train_flags(point: plan.Point, argv: Sequence[str]) -> list[str]:
  fixed = [f"--{override}" for override in flags_lib.overrides(argv)]
  return [f"--config={flags_lib.config_path(argv)}", *fixed, *point.overrides()]


def _resolve(point: plan.Point, argv: Sequence[str]) -> dict[str, Any]:
  """The config as the run's own process will resolve it."""
  return flags_lib.load_config("train", flags.FlagValues(), _train_flags(point, argv))


def _job(
  workdir: pathlib.Path, point: plan.Point, argv: Sequence[str], data_dir: str | None
) -> jobs_lib.Job:
  folder = workdir / point.folder
  command = [sys.executable, "-m", "ibjax.main", "train", f"--workdir={folder}"]
  command += _train_flags(point, argv)
  command += [f"--data_dir={data_dir}"] if data_dir is not None else []
  return jobs_lib.Job(point.folder, tuple(command), folder / "log.txt")


def _check(
  configs: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any], stop: StopSignal
) -> bool:
  """Builds every config; False when stopped."""
  splits = jobs_lib.check_configs(configs, options["data_dir"], stop)
  if splits is not None and options["metric"] and "validation" not in splits:
    raise ConfigError(
      f"--metric={options['metric']}: there are no validation data; set --config.data.validation."
    )
  return splits is not None


def _dry_run(
  axes: tuple[Axis, ...],
  points: Sequence[plan.Point],
  argv: Sequence[str],
  options: Mapping[str, Any],
) -> int:
  configs = {point.folder: _resolve(point, argv) for point in points}
  with StopSignal() as stop:
    if not _check(configs, options, stop):
      return EXIT_STOPPED
  width = max(len(point.folder) for point in points)
  for point in points:
    print(f"{point.folder:<{width}}  {config_hash(configs[point.folder])}  ", end="")
    print(shlex.join(point.overrides()))
  print(f"{len(points)} points, all checked; nothing was written")
  _hint_population(axes, list(configs.values()))
  return 0


def _hint_population(axes: Sequence[Axis], configs: Sequence[Mapping[str, Any]]) -> None:
  sizes = collections.Counter(static_key(config) for config in configs if not measures(config))
  shared = sum(size for size in sizes.values() if size > 1)
  moving = [axis for axis in axes if all(axis[0] in traced(config) for config in configs)]
  if not shared or not moving:
    return
  text = ";".join(
    f"{axis[0]}=..." if isinstance(axis[1], Range) else axes_lib.to_text([axis]) for axis in moving
  )
  _say(
    f"hint: {shared} of {len(configs)} points share their program with others ({len(sizes)} "
    f'programs in all). `ibjax train --population="{text}"` trains such points in one program.'
  )


class _Progress:
  """Says how each job ended, how many are left and for how long."""

  def __init__(self, total: int, done: int):
    self._total, self._done = total, done
    self._left, self._ended = total - done, 0
    self._began = time.monotonic()
    if done:
      _say(f"{done} of {total} runs are finished already")

  def found(self, job: jobs_lib.Job) -> None:
    """Counts a job that another process has finished."""
    self._left -= 1
    self._done += 1
    _say(f"[{self._done} done] by another process: {job.name}")

  def ended(self, outcome: jobs_lib.Outcome) -> None:
    """Prints the outcome of a job, with its row or the end of its log."""
    self._ended += 1
    self._left -= 1
    self._done += outcome.state == "done"
    seconds = (time.monotonic() - self._began) / self._ended * self._left
    count = f"[{self._done}/{self._total} done, {clock(seconds)} left]"
    why = f" ({outcome.reason()})" if outcome.state == "failed" else ""
    _say(f"{count} {outcome.state}{why}: {outcome.job.name}")
    folder = outcome.job.log.parent
    if outcome.state == "done":
      lines = format_row(read_run(folder)).splitlines()
    else:
      lines = jobs_lib.last_lines(outcome.job.log, 8) if outcome.state == "failed" else []
    for line in lines:
      _say(f"    {line}")


def _finish(
  workdir: pathlib.Path,
  points: Sequence[plan.Point],
  outcomes: Sequence[jobs_lib.Outcome],
  stopped: str,
  options: Mapping[str, Any],
) -> int:
  print(ranking([workdir / point.folder for point in points], options["metric"] or METRIC))
  print(f"more         ibjax report {shlex.quote(str(workdir))}")
  sys.stdout.flush()
  failed = [outcome for outcome in outcomes if outcome.state == "failed"]
  if failed:
    _say(f"{len(failed)} of {len(points)} runs failed:")
    for outcome in failed:
      _say(f"    {outcome.job.name} ({outcome.reason()}), see {outcome.job.log}")
  begun = {outcome.job.name for outcome in outcomes}
  others = [point.folder for point in points if point.folder not in begun]
  left = [folder for folder in others if not (workdir / folder / "result.json").exists()]
  if left and not stopped:
    _say(f"{len(left)} of {len(points)} runs are trained by others, who had claimed them")
  if stopped or any(outcome.state == "stopped" for outcome in outcomes):
    _say(f"{stopped or 'a run was stopped'}: all is saved; the same command continues")
    return EXIT_STOPPED
  return 1 if failed else 0


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
