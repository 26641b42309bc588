"""Figures of an experiment: metrics over a setting or each other, with intervals over seeds."""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as PlotAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ibjax.core.config import flatten
from ibjax.core.errors import ConfigError
from ibjax.core.files import write_bytes
from ibjax.report.experiment import Experiment
from ibjax.report.plots import DPI
from ibjax.report.results import Status
from ibjax.report.runs import is_number
from ibjax.report.shown import Axis, Exact, Series
from ibjax.report.shown import Figure as Asked
from ibjax.report.statistics import KINDS, Interval, interval
from ibjax.report.style import FAINT, INK, SOFT, plain, style

# Okabe and Ito, the two that pictures of runs use first; each with a marker, so that no series is
# known by its colour alone.
SERIES = (
  ("#0072b2", "o"),
  ("#d55e00", "s"),
  ("#009e73", "^"),
  ("#cc79a7", "D"),
  ("#e69f00", "v"),
  ("#56b4e9", "P"),
  ("#555555", "X"),
)
# Of series beyond those: the same colours and markers once more, on other lines.
LINES = ("-", (0, (5, 1.5)), (0, (1, 1.2)))
EXACT_POINTS = 200


@dataclasses.dataclass(frozen=True)
class Point:
  """Where a panel's point lies: its intervals on both axes, scaled as shown, and its cells."""

  cells: tuple[str, ...]
  x: Interval
  y: Interval


def points(
  series: Series,
  x: Axis,
  y: Axis,
  rows: Mapping[str, Sequence[Mapping[str, Any]]],
  configs: Mapping[str, Mapping[str, Any]],
  kind: str,
) -> list[Point]:
  """The points of one curve.

  Args:
    series: the curve.
    x: the horizontal axis.
    y: the vertical axis.
    rows: cell -> rows of its finished runs.
    configs: cell -> its resolved config.
    kind: which interval over seeds.

  Returns:
    The points that have both values, by rising x; what a log axis cannot show is left out.
  """
  found = []
  for cells in series.points:
    some = [row for cell in cells for row in rows.get(cell, ())]
    if x.config:
      # Pooled cells are of one setting, see `ibjax.verbs.table_plan`.
      asked = next((configs[cell] for cell in cells if cell in configs), {})
      setting: Any = dict(flatten(asked)).get(x.config)
      across = [float(setting)] * bool(some) if is_number(setting) else []
    else:
      across = _values(some, x.key)
    point = Point(
      cells,
      interval([value * x.scale for value in across], kind),
      interval([value * y.scale for value in _values(some, y.key)], kind),
    )
    shown = all(
      end.n and not (axis.log and end.mean <= 0) for end, axis in ((point.x, x), (point.y, y))
    )
    if shown:
      found.append(point)
  return sorted(found, key=lambda point: point.x.mean)


def draw(
  asked: Asked,
  rows: Mapping[str, Sequence[Mapping[str, Any]]],
  configs: Mapping[str, Mapping[str, Any]],
  kind: str = "t",
) -> Figure | None:
  """Draws a figure.

  Args:
    asked: what it shows.
    rows: cell -> rows of its finished runs.
    configs: cell -> its resolved config.
    kind: which interval over seeds.

  Returns:
    The figure; None while no panel has a point.

  Raises:
    ConfigError: the exact curve fails.
  """
  panels = [
    [points(series, asked.x, y, rows, configs, kind) for series in asked.series] for y in asked.y
  ]
  if not any(some for panel in panels for some in panel):
    return None
  figure = Figure(figsize=(0.5 + 3.9 * len(panels), 3.9), layout="constrained")
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  for number, (ax, y, panel) in enumerate(zip(axes, asked.y, panels)):
    _draw_panel(ax, asked, y, panel)
    if asked.exact is not None and number == 0:
      _draw_exact(ax, asked.exact, asked.x, y, panel)
    _axis(ax, ax.xaxis, asked.x)
    _axis(ax, ax.yaxis, y)
  handles, labels = axes[0].get_legend_handles_labels()
  if asked.exact is not None and len(handles) > len(asked.series):
    handles, labels = handles[1:] + handles[:1], labels[1:] + labels[:1]  # lines precede bars
  if len(handles) > 1:
    figure.legend(
      handles,
      labels,
      loc="outside lower center",
      ncols=min(len(handles), 4 if len(panels) > 1 else 3),
      frameon=False,
      fontsize=8,
      labelcolor=INK,
      handlelength=1.8,
    )
  figure.suptitle(plain(asked.title), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  return figure


def caption(asked: Asked, statuses: Sequence[Status], kind: str) -> str:
  """What a reader must know of a figure.

  Args:
    asked: the figure.
    statuses: the experiment's runs.
    kind: which interval over seeds.

  Returns:
    Sentences: the experiment's own, the bars, n, and what is missing.
  """
  cells = {cell for series in asked.series for cell in series.cells}
  own = [status for status in statuses if status.run.cell in cells]
  drawn = {point for series in asked.series for point in series.points}
  counts = [sum(s.state == "done" for s in own if s.run.cell in point) for point in drawn]
  n = sorted({count for count in counts if count})
  parts = [asked.caption.strip()] if asked.caption.strip() else []
  if n:
    over = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    what = "runs" if any(len(point) > 1 for point in drawn) else "seeds"
    parts.append(f"Points: means; bars: {KINDS[kind]} intervals over {what} ({over}).")
  for state in ("missing", "stale", "diverged"):
    if count := sum(status.state == state for status in own):
      parts.append(f"{count} of {len(own)} runs {state}.")
  return " ".join(parts)


def write_figures(
  folder: pathlib.Path,
  experiment: Experiment,
  rows: Mapping[str, Sequence[Mapping[str, Any]]],
  statuses: Sequence[Status],
  kind: str,
) -> dict[str, pathlib.Path]:
  """Draws every figure that has a point, as .png and .svg.

  Args:
    folder: where; it must exist.
    experiment: the experiment.
    rows: cell -> rows of its finished runs.
    statuses: its runs.
    kind: which interval over seeds.

  Returns:
    Name -> the .svg file; the .png lies beside it.
  """
  configs = {status.run.cell: status.run.config for status in statuses}
  written = {}
  for asked in experiment.figures:
    figure = draw(asked, rows, configs, kind)
    if figure is None:
      continue
    # The salt and the missing dates make the same results give the same files.
    with matplotlib.rc_context({"svg.hashsalt": "ibjax"}):
      for suffix, stamp in (("png", "Software"), ("svg", "Date")):
        content = io.BytesIO()
        figure.savefig(content, format=suffix, dpi=DPI, metadata={stamp: None})
        write_bytes(folder / f"{asked.name}.{suffix}", content.getvalue())
    written[asked.name] = folder / f"{asked.name}.svg"
  return written


def _values(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
  return [float(r[key]) for r in rows if is_number(r.get(key)) and math.isfinite(r[key])]


def _draw_panel(ax: Axes, asked: Asked, y: Axis, panel: Sequence[Sequence[Point]]) -> None:
  style(ax)
  ax.grid(color=FAINT, linewidth=0.6)
  ax.set_axisbelow(True)
  for number, (series, some) in enumerate(zip(asked.series, panel)):
    turn, place = divmod(number, len(SERIES))
    colour, marker = SERIES[place]
    ax.errorbar(
      [point.x.mean for point in some],
      [point.y.mean for point in some],
      xerr=None if asked.x.config else _bars([point.x for point in some], asked.x),
      yerr=_bars([point.y for point in some], y),
      color=colour,
      marker=marker,
      linestyle=LINES[turn % len(LINES)],
      markerfacecolor=colour if turn == 0 else "white",
      markersize=4.5,
      markeredgecolor="white" if turn == 0 else colour,
      markeredgewidth=0.6,
      linewidth=1.4,
      elinewidth=0.9,
      capsize=0,
      label=plain(series.label),
      clip_on=True,
    )
  if asked.x.log:
    ax.set_xscale("log")
  if y.log:
    ax.set_yscale("log")
  else:  # the value itself, not what it adds to a number in the corner
    ax.ticklabel_format(axis="y", useOffset=False)


def _bars(intervals: Sequence[Interval], axis: Axis) -> np.ndarray:
  """[2, n] distances from the mean; none where one seed says nothing of the spread."""
  low, high = [], []
  for one in intervals:
    # A bar that reaches zero has no lower end on a log axis; it is drawn far down.
    bottom = max(one.low, one.mean / 50) if axis.log else one.low
    low.append(0.0 if math.isnan(one.low) else max(one.mean - bottom, 0.0))
    high.append(0.0 if math.isnan(one.high) else max(one.high - one.mean, 0.0))
  return np.array([low, high])


def _draw_exact(ax: Axes, exact: Exact, x: Axis, y: Axis, panel: Sequence[Sequence[Point]]) -> None:
  means = [point.x.mean / x.scale for some in panel for point in some]
  if not means:
    return
  space = np.geomspace if x.log else np.linspace
  across = space(min(means), max(means), EXACT_POINTS)
  try:
    values = np.asarray(exact.curve(across), np.float64)
    if values.shape != across.shape:
      raise ValueError(f"it gave shape {list(values.shape)}, expected {list(across.shape)}")
  except Exception as error:
    raise ConfigError(f"the exact curve '{exact.label}' fails: {error}.") from error
  ax.plot(
    across * x.scale,
    values * y.scale,
    color=INK,
    linewidth=1.1,
    linestyle=(0, (4, 2.5)),
    label=plain(exact.label),
    zorder=1.5,
  )


def _axis(ax: Axes, side: PlotAxis, axis: Axis) -> None:
  side.set_label_text(plain(axis.label), fontsize=8, color=SOFT)
  if not axis.log:
    return
  low, high = side.get_view_interval()
  subs = (1.0,) if high / max(low, 1e-300) > 1e2 else (1.0, 2.0, 5.0)
  side.set_major_locator(LogLocator(subs=subs, numticks=9))
  side.set_major_formatter(FuncFormatter(_tick))
  side.set_minor_locator(NullLocator())


def _tick(value: float, _: Any) -> str:
  if 1e-3 <= value < 1e4 or value <= 0:
    return f"{value:g}"
  power = round(math.log10(value))
  head = value / 10.0**power
  times = "" if abs(head - 1) < 1e-9 else f"{head:g}·"
  return f"{times}$10^{{{power}}}$"
