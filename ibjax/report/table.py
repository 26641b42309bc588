"""Tables from results: means over seeds with intervals, their runs, and the paper's numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ibjax.core.errors import ConfigError, unknown
from ibjax.report.experiment import Experiment
from ibjax.report.matched import at_rate, matched
from ibjax.report.results import Status
from ibjax.report.runs import is_number
from ibjax.report.selection import least
from ibjax.report.shown import Column, Published, Row, Table
from ibjax.report.statistics import Comparison, Interval, against, interval, paired

RunRow = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Entry:
  """A cell of a table, in the column's unit.

  Attributes:
    column: its column.
    interval: mean over seeds and interval; n = 0 when no run has the metric.
    published: the paper's number beside it, or None.
    comparison: the test against it (against zero for a difference), or None.
    missing: how many runs of the row are still to be made.
    stale: how many have only a result of another config, code or data.
    diverged: how many diverged; they are not in the mean.
    asked: how many runs the row has.
    left_out: seeds of a matched row whose runs do not reach its rate.
  """

  column: Column
  interval: Interval
  published: Published | None
  comparison: Comparison | None
  missing: int
  stale: int
  diverged: int
  asked: int
  left_out: int = 0

  @property
  def text(self) -> str:
    """The mean and its interval, "m ± h" or "m [low, high]"; a word where there is none."""
    digits, found = self.column.digits, self.interval
    if not found.n:
      counts = {"missing": self.missing, "stale": self.stale, "diverged": self.diverged}
      return next((word for word, count in counts.items() if count == self.asked), "–")
    mean = _signed_zero(f"{found.mean:.{digits}f}")
    if found.n < 2:
      return mean
    if found.kind == "t":
      return f"{mean} ± {found.high - found.mean:.{digits}f}"
    return f"{mean} [{found.low:.{digits}f}, {found.high:.{digits}f}]"  # it need not be symmetric

  @property
  def note(self) -> str:
    """What is not in the mean, e.g. "1 of 5 diverged"; "" when all is."""
    counts = (("missing", self.missing), ("stale", self.stale), ("diverged", self.diverged))
    parts = [f"{count} of {self.asked} {word}" for word, count in counts if count]
    if self.left_out:
      seeds = "1 seed does" if self.left_out == 1 else f"{self.left_out} seeds do"
      parts.append(f"{seeds} not reach the rate")
    return ", ".join(parts)

  @property
  def published_text(self) -> str:
    """The paper's number, with its spread where it gives one; "" when there is none."""
    if self.published is None:
      return ""
    value = f"{self.published.value:g}"
    return value if self.published.sd is None else f"{value} (sd {self.published.sd:g})"

  @property
  def mark(self) -> str:
    """ "differs", "agrees" or "n/a" of a cell that is compared; "" of another."""
    if self.comparison is None:
      return ""
    significant = self.comparison.significant
    return "n/a" if significant is None else "differs" if significant else "agrees"


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of a table: what was asked for, its cells, and the runs behind them."""

  row: Row
  entries: tuple[Entry, ...]
  runs: tuple[Status, ...]


@dataclasses.dataclass(frozen=True)
class Assembled:
  """A table with its values.

  Attributes:
    table: what was asked for.
    lines: its rows.
    left_out: labels of the rows that this budget does not run.
    kind: which interval, a key of `statistics.KINDS`.
  """

  table: Table
  lines: tuple[Line, ...]
  left_out: tuple[str, ...]
  kind: str


def run_rows(experiment: Experiment, statuses: Sequence[Status]) -> dict[str, list[RunRow]]:
  """The rows of the finished runs, with what the experiment derives from them.

  Args:
    experiment: the experiment.
    statuses: its runs.

  Returns:
    Cell -> rows, one a seed that neither diverged nor is missing or stale.

  Raises:
    ConfigError: `derive` fails, or gives something else than numbers by name.
  """
  rows: dict[str, list[RunRow]] = {}
  for status in statuses:
    if status.state != "done" or status.line is None:
      continue
    row = {**status.line["result"], "seed": status.run.seed}
    rows.setdefault(status.run.cell, []).append(
      {**row, **_derived(experiment, row, status.run.config, status.run.name)}
    )
  return rows


def _derived(
  experiment: Experiment, row: RunRow, config: Mapping[str, Any], name: str
) -> Mapping[str, float]:
  where = f"{experiment.folder / 'table.py'}: derive, for {name}"
  try:
    found = experiment.derive(row, config)
  except Exception as error:
    raise ConfigError(f"{where}: {type(error).__name__}: {error}.") from error
  if not isinstance(found, Mapping):
    raise ConfigError(f"{where}: it gave {found!r}, expected a dictionary of numbers by name.")
  for key, value in found.items():
    # Numbers of numpy and jax are welcome; what is no number at all is not.
    try:
      float(value)
    except (TypeError, ValueError):
      raise ConfigError(f"{where}: '{key}' is {value!r}, expected a number.") from None
    if key in row:
      raise ConfigError(f"{where}: '{key}' is a metric of the run already; name it otherwise.")
  return {key: float(value) for key, value in found.items()}


def unknown_metrics(
  experiment: Experiment, statuses: Sequence[Status], rows: Mapping[str, Sequence[RunRow]]
) -> list[str]:
  """Metrics that are asked for and that no run wrote, although all that could have are there.

  Args:
    experiment: the experiment.
    statuses: its runs.
    rows: as `run_rows` gives them.

  Returns:
    One message per metric, naming the nearest one; [] while runs are missing that may have it.
  """
  waiting = {status.run.cell for status in statuses if status.state in ("missing", "stale")}
  known = sorted({k for some in rows.values() for row in some for k in row if is_number(row[k])})
  wanted: list[tuple[str, str, set[str]]] = []
  path = experiment.folder / "table.py"
  for table in experiment.tables:
    cells = {cell for row in table.rows for cell in (*row.cells, *row.minus)}
    where = f"{path}: table '{table.name}'"
    wanted += [(where, column.key, cells) for column in table.columns]
    for row in table.rows:
      if row.at is not None:
        wanted.append((f"{where}, row '{row.label}'", row.rate, {*row.cells, *row.minus}))
      if row.by:
        wanted.append((f"{where}, row '{row.label}'", row.by, set(row.cells)))
  for figure in experiment.figures:
    cells = {cell for series in figure.series for cell in series.cells}
    wanted += [
      (f"{path}: figure '{figure.name}'", axis.key, cells)
      for axis in (figure.x, *figure.y)
      if axis.key
    ]
  messages = []
  for where, key, cells in wanted:
    there = [row for cell in cells for row in rows.get(cell, ())]
    if there and not cells & waiting and not any(is_number(row.get(key)) for row in there):
      messages.append(f"{where}: {unknown('metric', key, known, 'No run of its cells wrote it.')}")
  return list(dict.fromkeys(messages))


def assemble(
  experiment: Experiment, statuses: Sequence[Status], kind: str = "t"
) -> list[Assembled]:
  """Builds the tables of an experiment.

  Args:
    experiment: the experiment.
    statuses: its runs under one budget.
    kind: which interval, a key of `statistics.KINDS`.

  Returns:
    The tables, with rows of cells that the budget does not have left out.

  Raises:
    ConfigError: `derive` fails, or a metric exists in no run of a table (names the nearest one).
  """
  rows = run_rows(experiment, statuses)
  if messages := unknown_metrics(experiment, statuses, rows):
    raise ConfigError("\n".join(messages))
  by_cell: dict[str, list[Status]] = {}
  for status in statuses:
    by_cell.setdefault(status.run.cell, []).append(status)
  found = []
  for table in experiment.tables:
    lines, left_out = [], []
    for row in table.rows:
      runs = [status for cell in (*row.cells, *row.minus) for status in by_cell.get(cell, ())]
      if not runs:
        left_out.append(row.label)
        continue
      entries = tuple(_entry(experiment, row, column, runs, rows, kind) for column in table.columns)
      lines.append(Line(row, entries, tuple(runs)))
    found.append(Assembled(table, tuple(lines), tuple(left_out), kind))
  return found


def _entry(
  experiment: Experiment,
  row: Row,
  column: Column,
  runs: Sequence[Status],
  rows: Mapping[str, Sequence[RunRow]],
  kind: str,
) -> Entry:
  scale: Callable[[float], float] = lambda value: value * column.scale  # noqa: E731
  published = experiment.paper.rows[row.paper].get(column.paper) if row.paper else None
  comparison, left_out = None, 0
  curve = [one for cell in row.cells for one in rows.get(cell, ())]
  if row.by:
    curve = least(curve, row.by)
  if row.at is None:
    values = [scale(one[column.key]) for one in curve if _finite(one.get(column.key))]
  elif not row.minus:
    by_seed = at_rate(curve, at=row.at, key=column.key, rate=row.rate)
    values = [scale(value) for value in by_seed.values()]
    left_out = len({one["seed"] for one in curve}) - len(by_seed)
  else:
    other = [one for cell in row.minus for one in rows.get(cell, ())]
    pairs = matched(curve, other, at=row.at, key=column.key, rate=row.rate)
    values = [scale(a) - scale(b) for a, b in pairs.values()]
    left_out = len({one["seed"] for one in (*curve, *other)}) - len(pairs)
    if pairs and column.key != row.rate:  # there they are equal by construction
      ours, theirs = zip(*pairs.values())
      comparison = paired([scale(value) for value in ours], [scale(value) for value in theirs])
  if published is not None and values:
    comparison = against(values, published.value, published.sd, published.n)
  states = [status.state for status in runs]
  return Entry(
    column,
    interval(values, kind),
    published,
    comparison,
    missing=states.count("missing"),
    stale=states.count("stale"),
    diverged=states.count("diverged"),
    asked=len(states),
    left_out=left_out,
  )


def best(assembled: Assembled) -> dict[int, int]:
  """Which row has the best mean in each column that says which way is better.

  Args:
    assembled: a table.

  Returns:
    Column number -> row number; differences of methods do not compete, nor do single rows.
  """
  found = {}
  for k, column in enumerate(assembled.table.columns):
    if column.lower_is_better is None:
      continue
    means = {
      number: line.entries[k].interval.mean
      for number, line in enumerate(assembled.lines)
      if not line.row.minus and line.entries[k].interval.n
    }
    if len(means) > 1:
      choose = min if column.lower_is_better else max
      found[k] = choose(means, key=lambda number: means[number])
  return found


def _finite(value: Any) -> bool:
  return is_number(value) and math.isfinite(value)


def _signed_zero(text: str) -> str:
  return text.lstrip("-") if not text.strip("-0.") else text
