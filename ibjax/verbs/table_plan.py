"""From an experiment's cells to the runs it asks for, each with its resolved config and hashes."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.core.code import code_version
from ibjax.core.config import config_hash, difference, flatten, measures
from ibjax.core.errors import ConfigError, DataError, IbjaxError, unknown
from ibjax.core.resolver import resolve
from ibjax.data import source
from ibjax.report.experiment import Experiment
from ibjax.report.results import Planned
from ibjax.report.runs import is_number
from ibjax.verbs.flags import load_config, overrides


@dataclasses.dataclass(frozen=True)
class Plan:
  """What an experiment asks for under one budget.

  Attributes:
    runs: every run, by cell and seed in the order written.
    not_checked: data sets that are not on this machine: whether they changed is not known.
  """

  runs: tuple[Planned, ...]
  not_checked: tuple[str, ...]


def plan(
  experiment: Experiment,
  budget: str,
  home: pathlib.Path,
  data_dir: str | None,
  *,
  need_data: bool,
) -> Plan:
  """Resolves every run of a budget; nothing is trained.

  Args:
    experiment: the experiment.
    budget: its name.
    home: where the run folders of this budget are kept.
    data_dir: where prepared data sets live, or None.
    need_data: whether a data set that is absent is an error; else its runs' fingerprint is None.

  Returns:
    The plan.

  Raises:
    ConfigError: a config or a key of it does not exist, or a value does not fit; names the cell.
    DataError: a data set is absent, and needed.
  """
  experiment.budget(budget)
  found: dict[str, tuple[str, str | None]] = {}  # data sections -> the set's name, fingerprint
  runs: list[Planned] = []
  # Cells of one method share its code: reading it once is enough.
  code = functools.cache(lambda names: code_version(dict(names)))
  for cell in experiment.cells:
    seeds = experiment.seeds(cell, budget)
    if not seeds:
      continue
    file = experiment.cells[cell].config
    base = [f"--config={file}", *_written(experiment.overrides(cell, budget))]
    try:
      config = load_config("train", flags.FlagValues(), [*base, f"--config.seed={seeds[0]}"])
    except IbjaxError as error:
      raise ConfigError(f"{experiment.folder / 'runs.py'}, cell '{cell}': {error}") from error
    spec = config["data"]["tasks" if measures(config) else "source"]
    # A program that measures may read other sets beside it.
    data = json.dumps([config[name] for name in ("data", "unlabelled") if name in config])
    if data not in found:
      found[data] = (spec, _fingerprint(config, data_dir, need_data))
    named = tuple((key, value) for key, value in flatten(config) if isinstance(value, str))
    for seed in seeds:
      argv = [*base, f"--config.seed={seed}"]
      own = {**config, "seed": seed}
      folder = home / cell / f"seed={seed}"
      # Committed with the results, so it names no folder of this machine.
      usual = pathlib.Path("runs") / experiment.name / budget / cell / f"seed={seed}"
      runs.append(
        Planned(
          cell=cell,
          budget=budget,
          seed=seed,
          config=own,
          config_hash=config_hash(own),
          config_file=file,
          overrides=tuple(overrides(argv)),
          command=shlex.join(["ibjax", "train", *argv, f"--workdir={usual}"]),
          code=code(named),
          fingerprint=found[data][1],
          folder=folder,
        )
      )
  if not runs:
    raise ConfigError(f"{experiment.folder}: no cell is part of the budget '{budget}'.")
  configs = {run.cell: run.config for run in runs}
  _check_axes(experiment, configs)
  _check_pooled(experiment, configs, runs)
  absent = dict.fromkeys(spec for spec, fingerprint in found.values() if fingerprint is None)
  return Plan(tuple(runs), tuple(absent))


def _written(values: Mapping[str, Any]) -> list[str]:
  """Overrides as a command line has them."""
  return [
    f"--config.{key}={tuple(value) if isinstance(value, (tuple, list)) else value}"
    for key, value in values.items()
  ]


def _fingerprint(config: Mapping[str, Any], data_dir: str | None, needed: bool) -> str | None:
  try:
    if measures(config):
      return resolve(config["program"])(config).data["fingerprint"]
    return source.load(config["data"]["source"], data_dir).fingerprint
  except DataError:
    if needed:
      raise
    return None


def _check_pooled(
  experiment: Experiment, configs: Mapping[str, Mapping[str, Any]], runs: Sequence[Planned]
) -> None:
  """Pooled cells are repetitions of one setting, and no run of them is another one again."""
  path = experiment.folder / "table.py"
  pools = [
    (f"{path}: table '{table.name}', row '{row.label}'", row.cells)
    for table in experiment.tables
    for row in table.rows
    if row.pooled
  ]
  pools += [
    (f"{path}: figure '{figure.name}', series '{series.label}'", point)
    for figure in experiment.figures
    for series in figure.series
    for point in series.points
    if len(point) > 1
  ]
  for where, cells in pools:
    there = [cell for cell in cells if cell in configs]
    for cell in there[1:]:
      lines = [
        line
        for line in difference(configs[there[0]], configs[cell])
        if line.split(":")[0] not in ("data.source", "data.tasks", "seed")
      ]
      if lines:
        raise ConfigError(
          f"{where} pools the cells '{there[0]}' and '{cell}', which are different settings:\n  "
          + "\n  ".join(lines)
          + "\nPooled cells may differ in data.source (data.tasks where a run measures) and "
          "seed only; give the others rows or points of their own."
        )
    seen: dict[str, str] = {}
    for run in runs:
      if run.cell in there and seen.setdefault(run.config_hash, run.name) != run.name:
        raise ConfigError(
          f"{where}: '{run.name}' is the same run as '{seen[run.config_hash]}', and would count "
          "twice. Give each draw of the data its own data.source or seed."
        )


def _check_axes(experiment: Experiment, configs: Mapping[str, Mapping[str, Any]]) -> None:
  for figure in experiment.figures:
    cells: Sequence[str] = [cell for series in figure.series for cell in series.cells]
    for cell in cells if figure.x.config else ():
      leaves = {key: value for key, value in flatten(configs.get(cell, {})) if is_number(value)}
      if cell in configs and figure.x.config not in leaves:
        raise ConfigError(
          f"{experiment.folder / 'table.py'}: figure '{figure.name}', x: "
          + unknown(f"number in the config of cell '{cell}'", figure.x.config, leaves)
        )
