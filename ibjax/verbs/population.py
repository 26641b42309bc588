"""The population of `ibjax train --population=...`: many runs as one program."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import flags

from ibjax.cluster import processes
from ibjax.core import axes as axes_lib
from ibjax.core import files
from ibjax.core.config import measures
from ibjax.core.draws import Axis
from ibjax.core.errors import ConfigError
from ibjax.report.compare_page import write_compare_page
from ibjax.report.runs import read_run
from ibjax.report.spread import format_spread
from ibjax.train import loop, records
from ibjax.train.dry_run import describe
from ibjax.train.expand import MEMBERS, make_members, member_points, use_cores
from ibjax.train.population import Member, check_members, finished, train_members
from ibjax.train.setup import build_population
from ibjax.verbs import flags as flags_lib

# The keys that describe a population, and what a solo run has there.
NAMES = {"population": "()", "pairing": "product", "continuation": ""}


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags of a population.

  Args:
    values: flags; --population, --pairing, --continuation, --chunk and --strategy are added.
  """
  text = 'Axes of a population: "objective.beta=1e-3,3e-2;seed=0,1", one program trains all.'
  flags.DEFINE_string("population", "", text, flag_values=values)
  text = "How its axes combine: product, or zip (the first values, the second ones, ...)."
  flags.DEFINE_string("pairing", "", text, flag_values=values)
  text = "Axis along which each member starts from the one before, e.g. objective.beta."
  flags.DEFINE_string("continuation", "", text, flag_values=values)
  text = "Members to train at a time; as many as fit in memory if absent."
  flags.DEFINE_integer("chunk", None, text, lower_bound=1, flag_values=values)
  text = "vmap (one kernel for all members) or loop (one after another on each device)."
  flags.DEFINE_string("strategy", "", text, flag_values=values)


def requested(config: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
  """Whether a population is asked for, by the flag or by the config.

  Args:
    config: the resolved config.
    options: the parsed flags.

  Returns:
    True when there are axes.

  Raises:
    ConfigError: a flag of populations without axes, or a population of what only measures.
  """
  found = bool(options["population"] or config.get("population"))
  if found and measures(config):
    raise ConfigError(
      "a population is one program that trains, and this config's program measures; run it once "
      "per point with `ibjax sweep`, or as the cells of `ibjax table`."
    )
  for name in ("pairing", "continuation", "chunk", "strategy"):
    if options[name] and not found:
      raise ConfigError(f'--{name} is for a population; give its axes, --population="key=a,b".')
  return found


def run(config: Mapping[str, Any], options: Mapping[str, Any], argv: Sequence[str]) -> int:
  """Trains a population, or continues it.

  Args:
    config: the resolved config, without the axes' values.
    options: the parsed flags of `ibjax train`.
    argv: the arguments after the verb.

  Returns:
    0 when all members are finished; 75 when it was stopped and all is saved.

  Raises:
    IbjaxError: bad input, before training starts.
  """
  axes = _axes(config, options, argv)
  pairing = options["pairing"] or config["pairing"]
  found = member_points(axes, pairing, options["continuation"] or config["continuation"])
  workdir = pathlib.Path(options["workdir"] or "runs/population")
  solo = _solo(argv)
  members = make_members(
    found,
    workdir,
    lambda extra: _resolve([*solo, *extra]),
    lambda extra, folder: _about([*solo, *extra], folder),
  )
  check_members(members)
  use_cores(len(members))
  processes.join(options)
  if options["dry_run"]:
    for member in members:
      print(f"{member.folder.name}  {' '.join(member.about['overrides'])}")
    # As one batch unless asked otherwise: then the cost of all of them is counted, not one's.
    configs = [member.config for member in members]
    strategy = options["strategy"] or "vmap"
    print(describe(build_population(configs, options["data_dir"], strategy=strategy)))
    print(f"{len(members)} members, checked; nothing was written")
    return 0
  records.prepare_workdir(workdir)
  found_there = [finished(member) for member in members]
  every = {member.folder.name: member.config for member in members}
  session = processes.agree(every, workdir, found_there, options)
  with processes.begin(workdir, session, options) as beat:
    if jax.process_index() == 0:
      _write_plan(workdir, axes, members, argv)
    try:
      train_members(
        members,
        workdir,
        options["data_dir"],
        chunk=options["chunk"],
        strategy=options["strategy"],
        pulse=beat.pulse,
      )
    except loop.Stopped:
      beat.end("stopped")
      return loop.EXIT_STOPPED
    beat.end("finished")
  if jax.process_index() == 0:
    runs = [read_run(member.folder) for member in members]
    page = write_compare_page(runs, workdir / "report.html", title=f"Population {workdir.name}")
    print(format_spread(runs))
    print(f"members      {workdir / MEMBERS}\nreport       {page}")
  return 0


def _axes(
  config: Mapping[str, Any], options: Mapping[str, Any], argv: Sequence[str]
) -> tuple[Axis, ...]:
  path = flags_lib.config_path(argv)
  assert path is not None  # load_config has been there
  given: Sequence[Axis] = (
    axes_lib.parse_axes(options["population"])
    if options["population"]
    else [(key, tuple(_tuples(value) for value in values)) for key, values in config["population"]]
  )
  axes = axes_lib.typed(given, flags_lib.load_bare(path))
  fixed = {item.partition("=")[0] for item in flags_lib.overrides(argv)}
  for key, _ in axes:
    if f"config.{key}" in fixed:
      raise ConfigError(f"'{key}' is an axis, and fixed by --config.{key} too; remove one.")
    if key.split(".")[0] in NAMES:
      raise ConfigError(f"'{key}' describes the population; it cannot be one of its axes.")
  return axes


def _tuples(value: Any) -> Any:
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _solo(argv: Sequence[str]) -> list[str]:
  """The flags that all members' solo runs share."""
  file = f"--config={flags_lib.config_path(argv)}"
  kept = [f"--{item}" for item in flags_lib.overrides(argv) if _section(item) not in NAMES]
  config = flags_lib.load_config("train", flags.FlagValues(), [file])
  # Only where the config file itself asks for a population.
  alone = [f"--config.{name}={text}" for name, text in NAMES.items() if config["population"]]
  return [file, *kept, *alone]


def _section(override: str) -> str:
  """The first part of the key of "config.key=value"."""
  return override.partition("=")[0].split(".")[1]


def _resolve(solo: Sequence[str]) -> dict[str, Any]:
  return flags_lib.load_config("train", flags.FlagValues(), solo)


def _about(solo: Sequence[str], folder: pathlib.Path) -> dict[str, Any]:
  return {
    "config_file": flags_lib.config_path(solo),
    "overrides": flags_lib.overrides(solo),
    "command": shlex.join(["ibjax", "train", *solo, f"--workdir={folder}"]),
  }


def _write_plan(
  workdir: pathlib.Path, axes: Sequence[Axis], members: Sequence[Member], argv: Sequence[str]
) -> None:
  workdir.mkdir(parents=True, exist_ok=True)
  files.write_json(
    workdir / "population.json",
    {
      "axes": {key: list(values) for key, values in axes if isinstance(values, tuple)},
      "members": [f"{MEMBERS}/{member.folder.name}" for member in members],
      "command": shlex.join(["ibjax", "train", *argv]),
    },
  )
