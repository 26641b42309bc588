"""Runs side by side: what they share, in which config keys they differ, how they group.

The words: a *row* is one run; a *key* is the full name of a config value, e.g. objective.beta;
a *group* is the rows that agree in everything but some keys, for example the seed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from ibjax.core.config import flatten
from ibjax.report.row import data_name, method_name
from ibjax.report.runs import Run, is_number

FINISHED, UNFINISHED, DIVERGED = "finished", "unfinished", "diverged"

# Numbers of the final row that are settings, which the config keys show.
_SETTINGS = ("seed", "beta", "diverged_at_step")


@dataclasses.dataclass(frozen=True)
class Row:
  """One run of a comparison.

  Attributes:
    run: the run.
    method: the objective's name.
    data: the data set's name.
    status: "finished", "unfinished" or "diverged".
    step: the last step recorded; where it diverged, if it did and says so.
    config: the resolved config, flat: full key -> JSON value.
    final: the final values, or the last recorded so far; the finite numbers only.
  """

  run: Run
  method: str
  data: str
  status: str
  step: int
  config: Mapping[str, Any]
  final: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Rows and the keys that tell them apart.

  Attributes:
    rows: one per run, in the order given.
    keys: the config keys that differ between rows, in the config's order, the seed last.
    columns: the keys worth a column: without those that only repeat the method or the data.
    metrics: names of the final values that any row has.
  """

  rows: tuple[Row, ...]
  keys: tuple[str, ...]
  columns: tuple[str, ...]
  metrics: tuple[str, ...]


def compare(runs: Sequence[Run]) -> Comparison:
  """Puts runs side by side.

  Args:
    runs: any runs, of any methods and data sets, finished or not.

  Returns:
    The comparison.

  Example:
    >>> import pathlib
    >>> from ibjax.report.compare import compare
    >>> from ibjax.report.runs import Run
    >>> configs = [{"seed": s, "objective": {"beta": b}} for b in (0.1, 0.2) for s in (0, 1)]
    >>> compare([Run(pathlib.Path("."), {"config": c}, {}, ()) for c in configs]).keys
    ('objective.beta', 'seed')
  """
  rows = tuple(make_row(run) for run in runs)
  keys = differing([row.config for row in rows])
  columns = [key for key in keys if not _named(rows, key, ("method", "data"))]
  metrics = dict.fromkeys(name for row in rows for name in row.final)
  return Comparison(rows, keys, tuple(columns), tuple(metrics))


def make_row(run: Run) -> Row:
  """Reads one run for a comparison.

  Args:
    run: a run, finished or not.

  Returns:
    Its row.
  """
  values = run.result if run.finished else run.values
  final = {
    name: float(value)
    for name, value in values.items()
    if name not in _SETTINGS and is_number(value) and math.isfinite(value)
  }
  status, step = _status(run)
  return Row(
    run=run,
    method=method_name(run),
    data=data_name(run) or str(run.result.get("data", "")),
    status=status,
    step=step,
    config=dict(flatten(run.config)),
    final=final,
  )


def _status(run: Run) -> tuple[str, int]:
  last = max((int(line["step"]) for line in run.lines), default=0)
  for status, name in ((DIVERGED, "diverged_at_step"), (FINISHED, "step")):
    step: Any = run.result.get(name)
    if name in run.result or (status == FINISHED and run.finished):
      return status, int(step) if is_number(step) and math.isfinite(step) else last
  # A run alone keeps the state that made its loss infinite in diverged/STEP, and stops there. One
  # that was continued since has recorded later steps.
  bad = [int(child.name) for child in run.path.glob("diverged/*") if child.name.isdigit()]
  if bad and max(bad) >= last:
    return DIVERGED, max(bad)
  return UNFINISHED, last


def value_text(value: Any) -> str:
  """A config value as text that is equal for equal values: 1 and 1.0 are, True and 1 are not.

  Args:
    value: a JSON value.

  Returns:
    Short text, as shown in a column and typed in a filter.

  Example:
    >>> from ibjax.report.compare import value_text
    >>> value_text(1.0), value_text(1e-3), value_text(True), value_text([32, 32]), value_text("a")
    ('1', '0.001', 'true', '[32, 32]', 'a')
  """
  if is_number(value):
    return f"{value:.10g}"
  return value if isinstance(value, str) else json.dumps(value)


def differing(configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
  """The keys that differ between flat configs; a key that some lack differs.

  Args:
    configs: full key -> value, one per run.

  Returns:
    Keys in the order in which they first appear; "seed" last, if it differs.
  """
  names = dict.fromkeys(name for config in configs for name in config)
  keys = [
    name
    for name in names
    if len({value_text(config[name]) if name in config else None for config in configs}) > 1
  ]
  return tuple(sorted(keys, key=lambda key: key == "seed"))


def split(
  comparison: Comparison, without: Collection[str] = ("seed",)
) -> tuple[list[int], list[str]]:
  """Groups the rows that agree in method, data and every config key but some.

  Args:
    comparison: the rows.
    without: what may differ within a group: config keys, "method" or "data".

  Returns:
    (the group of every row, a name for every group). Groups are numbered as they first appear;
    a name says the method, the data if there are several, and what differs between the groups
    of one method on one data set.
  """
  rows = comparison.rows
  keys = [k for k in comparison.keys if k not in without and not _named(rows, k, without)]
  names = [name for name in ("method", "data") if name not in without]
  groups: dict[tuple[Any, ...], int] = {}
  ids, firsts = [], []
  for row in rows:
    identity = (*(getattr(row, name) for name in names), *(_text(row, key) for key in keys))
    if identity not in groups:
      groups[identity] = len(groups)
      firsts.append(row)
    ids.append(groups[identity])
  return ids, [_name(row, firsts, names, keys) for row in firsts]


def _name(row: Row, others: Sequence[Row], names: Sequence[str], keys: Sequence[str]) -> str:
  kin = [o for o in others if all(getattr(o, name) == getattr(row, name) for name in names)]
  words = [row.method] if "method" in names else []
  if "data" in names and row.data and (not words or len({o.data for o in others}) > 1):
    words.append(f"on {row.data}" if words else row.data)
  told = [key for key in keys if len({_text(other, key) for other in kin}) > 1]
  short = short_names(keys)
  words += [f"{short[key]}={_shown(row, key)}" for key in told]
  return " ".join(words) or "all runs"


def short_names(keys: Sequence[str]) -> dict[str, str]:
  """The shortest tail of every key that no other of them ends in.

  Args:
    keys: full config keys.

  Returns:
    Key -> tail, e.g. objective.beta -> beta.
  """
  tails = {}
  for key in keys:
    parts = key.split(".")
    for count in range(1, len(parts) + 1):
      tail = ".".join(parts[-count:])
      if sum(f".{other}".endswith(f".{tail}") for other in keys) == 1:
        break
    tails[key] = tail
  return tails


def _text(row: Row, key: str) -> str:
  return value_text(row.config[key]) if key in row.config else ""


def _shown(row: Row, key: str) -> str:
  """Six digits are enough to tell a value in a name."""
  value = row.config.get(key)
  return f"{value:.6g}" if is_number(value) else _text(row, key) or "none"


def _named(rows: Sequence[Row], key: str, names: Collection[str]) -> bool:
  """Whether a key is the long form of a name: the objective's fn of the method, say."""
  name = {"objective.fn": "method", "data.source": "data"}.get(key)
  if name is None or name not in names:
    return False
  # Two methods of one name (in two families) are still told apart.
  pairs = {(getattr(row, name), _text(row, key)) for row in rows}
  return len(pairs) == len({first for first, _ in pairs})


def student_quantiles(most: int) -> list[float]:
  """Half-widths of 95% intervals of a mean, in units of its standard error, by sample size.

  Formula: t_{n-1}(0.975), so that mean ± t s / sqrt(n) covers the true mean in 95% of samples of
  n independent normal values, s their standard deviation with n - 1 in the denominator.

  Args:
    most: the largest sample size.

  Returns:
    The quantiles of n = 2, 3, ..., most.

  Example:
    >>> from ibjax.report.compare import student_quantiles
    >>> [round(t, 3) for t in student_quantiles(4)]
    [12.706, 4.303, 3.182]

  Source: Student 1908, "The probable error of a mean", Biometrika 6(1).
  """
  # scipy.stats has the same by name, but takes a second to import.
  return [float(t) for t in special.stdtrit(np.arange(1, most), 0.975)]
