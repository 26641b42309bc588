"""What an experiment shows: its tables and figures, and the paper's numbers, strictly checked.

The keys and their meaning are in `ibjax.report.experiment`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ibjax.core.errors import ConfigError, unknown
from ibjax.report.matched import RATE
from ibjax.report.schema import among, fields, fits, unique


@dataclasses.dataclass(frozen=True)
class Column:
  """A metric and how it is written."""

  key: str
  header: str
  unit: str = ""
  scale: float = 1.0
  digits: int = 2
  lower_is_better: bool | None = None
  paper: str = ""  # its key in paper.json


@dataclasses.dataclass(frozen=True)
class Row:
  """Cells, a method at a rate (`curve`), the difference of two there (`minus`), or chosen runs.

  Of the last (`best`), `by` is the validation metric whose least value chooses, seed by seed.
  """

  label: str
  cells: tuple[str, ...]
  minus: tuple[str, ...] = ()
  at: float | None = None
  rate: str = RATE
  paper: str | None = None
  by: str = ""

  @property
  def pooled(self) -> bool:
    """Whether the runs of several cells are taken together."""
    return self.at is None and not self.by and len(self.cells) > 1


@dataclasses.dataclass(frozen=True)
class Table:
  """A table: columns of metrics, rows of cells."""

  name: str
  title: str
  columns: tuple[Column, ...]
  rows: tuple[Row, ...]
  caption: str = ""


@dataclasses.dataclass(frozen=True)
class Axis:
  """A metric (`key`) or a number of the config (`config`) on an axis; one of the two is ""."""

  label: str
  key: str = ""
  config: str = ""
  scale: float = 1.0
  log: bool = False


@dataclasses.dataclass(frozen=True)
class Series:
  """A curve of a figure: each point is of the runs of one cell, or of several pooled ones."""

  label: str
  points: tuple[tuple[str, ...], ...]

  @property
  def cells(self) -> tuple[str, ...]:
    """The cells of all its points."""
    return tuple(cell for point in self.points for cell in point)


@dataclasses.dataclass(frozen=True)
class Exact:
  """A reference curve: `curve(x [n]) -> y [n]`, in the units of the metrics, unscaled."""

  label: str
  curve: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Figure:
  """A figure: panels of metrics over one axis."""

  name: str
  title: str
  x: Axis
  y: tuple[Axis, ...]
  series: tuple[Series, ...]
  caption: str = ""
  exact: Exact | None = None


@dataclasses.dataclass(frozen=True)
class Published:
  """A number in a paper, in the unit that the column shows; sd and n where the paper has them."""

  value: float
  sd: float | None = None
  n: int | None = None


@dataclasses.dataclass(frozen=True)
class Paper:
  """A paper, and rows of its numbers: key -> metric -> number; `sources` says where they stand."""

  title: str
  authors: str
  year: int
  url: str
  rows: Mapping[str, Mapping[str, Published]]
  sources: Mapping[str, str]


def read_paper(path: pathlib.Path, given: Any) -> Paper:
  """Checks what paper.json holds.

  Args:
    path: the file, for messages.
    given: its content.

  Returns:
    The paper.

  Raises:
    ConfigError: a key is missing or unknown, or a value does not fit.
  """
  keys = {"title": "text", "authors": "text", "year": "int", "url": "text", "rows": "mapping"}
  top = fields(str(path), given, keys, {})
  rows, sources = {}, {}
  for name, entry in top["rows"].items():
    here = f"{path}: rows['{name}']"
    found = fields(here, entry, {"source": "text", "values": "mapping"}, {})
    sources[name] = found["source"]
    rows[name] = {
      metric: Published(
        **fields(
          f"{here}, values['{metric}']",
          value,
          {"value": "number"},
          {"sd": "positive", "n": "count"},
        )
      )
      for metric, value in found["values"].items()
    }
  return Paper(top["title"], top["authors"], top["year"], top["url"], rows, sources)


def tables(where: str, given: Any, cells: Sequence[str], paper: Paper) -> tuple[Table, ...]:
  """Checks `TABLES`.

  Args:
    where: the file and name, for messages.
    given: what stands there.
    cells: ids of all cells.
    paper: the paper, whose rows the tables point at.

  Returns:
    The tables.

  Raises:
    ConfigError: a key, a value or a name does not fit.
  """
  found = []
  for number, entry in enumerate(fits(where, given, "sequence")):
    keys = {"name": "text", "title": "text", "columns": "sequence", "rows": "sequence"}
    here = _named(f"{where}[{number}]", entry)
    table = fields(here, entry, keys, {"caption": "words"})
    _file_name(here, table["name"])
    columns = tuple(
      _column(f"{here}, columns[{k}]", column) for k, column in enumerate(table["columns"])
    )
    rows = tuple(
      _row(f"{here}, rows[{k}]", row, cells, paper) for k, row in enumerate(table["rows"])
    )
    for part, items in (("columns", columns), ("rows", rows)):
      if not items:
        raise ConfigError(f"{here}: {part} is empty.")
    unique(f"{here}, rows", "rows", [row.label for row in rows])
    unique(f"{here}, columns", "columns", [f"{c.header} {c.unit}".strip() for c in columns])
    found.append(Table(table["name"], table["title"], columns, rows, table.get("caption", "")))
  unique(where, "tables", [table.name for table in found])
  # A misspelt metric in paper.json would otherwise silently have no number beside it.
  for name, values in paper.rows.items():
    using = [t for t in found if any(row.paper == name for row in t.rows)]
    known = {column.paper for table in using for column in table.columns}
    for metric in values if using else ():
      among(f"paper.json: rows['{name}'], values", "column of its tables", metric, known)
  return tuple(found)


def figures(where: str, given: Any, cells: Sequence[str]) -> tuple[Figure, ...]:
  """Checks `FIGURES`.

  Args:
    where: the file and name, for messages.
    given: what stands there.
    cells: ids of all cells.

  Returns:
    The figures.

  Raises:
    ConfigError: a key, a value or a name does not fit.
  """
  found = []
  for number, entry in enumerate(fits(where, given, "sequence")):
    here = _named(f"{where}[{number}]", entry)
    keys = {
      "name": "text",
      "title": "text",
      "x": "mapping",
      "y": "sequence",
      "series": "sequence",
    }
    figure = fields(here, entry, keys, {"caption": "words", "exact": "mapping"})
    _file_name(here, figure["name"])
    if not figure["y"] or not figure["series"]:
      raise ConfigError(f"{here}: y and series hold at least one entry each.")
    series = []
    for k, one in enumerate(figure["series"]):
      at = f"{here}, series[{k}]"
      series.append(_series(at, one, cells))
    unique(f"{here}, series", "series", [one.label for one in series])
    exact = None
    if "exact" in figure:
      exact = Exact(
        **fields(f"{here}, exact", figure["exact"], {"label": "text", "curve": "function"}, {})
      )
    found.append(
      Figure(
        figure["name"],
        figure["title"],
        _axis(f"{here}, x", figure["x"], allow_config=True),
        tuple(_axis(f"{here}, y[{k}]", y, allow_config=False) for k, y in enumerate(figure["y"])),
        tuple(series),
        figure.get("caption", ""),
        exact,
      )
    )
  unique(where, "figures", [figure.name for figure in found])
  return tuple(found)


def unused(path: pathlib.Path, paper: Paper, found: Sequence[Table]) -> list[str]:
  """Published rows that no table shows.

  Args:
    path: paper.json, for the text.
    paper: the paper.
    found: the tables.

  Returns:
    One sentence per row.
  """
  used = {row.paper for table in found for row in table.rows}
  return [f"{path}: no table row shows '{name}'." for name in paper.rows if name not in used]


def _named(where: str, entry: Any) -> str:
  return f"{where} ('{entry['name']}')" if isinstance(entry, Mapping) and "name" in entry else where


def _file_name(where: str, name: str) -> None:
  if not re.fullmatch(r"[\w-]+", name):
    raise ConfigError(f"{where}: the name becomes a file's; use letters, digits, - and _ only.")


def _column(where: str, given: Any) -> Column:
  optional = {
    "unit": "words",
    "scale": "number",
    "digits": "digits",
    "lower_is_better": "bool",
    "paper": "text",
  }
  found = fields(where, given, {"key": "text", "header": "text"}, optional)
  return Column(**{"paper": found["key"], **found})


def _row(where: str, given: Any, cells: Sequence[str], paper: Paper) -> Row:
  optional = {
    "cell": "text",
    "cells": "texts",
    "curve": "texts",
    "minus": "texts",
    "at": "positive",
    "rate": "text",
    "paper": "text",
    "best": "texts",
    "by": "text",
  }
  found = fields(where, given, {"label": "text"}, optional)
  if "paper" in found:
    among(where, "row of paper.json", found["paper"], paper.rows)
  kinds = [kind for kind in ("cell", "cells", "curve", "best") if kind in found]
  if len(kinds) != 1:
    raise ConfigError(
      f"{where}: give either cell='...', cells=('...', ...) to pool their runs, "
      "curve=('...', ...) with at=..., or best=('...', ...) with by=...; "
      f"found {' and '.join(kinds) or 'none of them'}."
    )
  by = found.get("by", "")
  if ("best" in found) != by.startswith("validation/"):
    raise ConfigError(
      f"{where}: best=(...) goes with by='validation/METRIC', the metric whose least value chooses "
      f"a run, and with no other kind of row; found by={by!r}. Test data choose nothing."
    )
  if kinds[0] != "curve":
    for key in ("minus", "at", "rate"):
      if key in found:
        raise ConfigError(f"{where}: '{key}' goes with curve=(...), not with {kinds[0]}=...")
    if kinds[0] == "cell":
      chosen: tuple[str, ...] = (among(where, "cell", found["cell"], cells),)
    else:
      chosen = matching(where, found[kinds[0]], cells)
    return Row(found["label"], chosen, paper=found.get("paper"), by=by)
  if "at" not in found:
    raise ConfigError(f"{where}: a row with curve=(...) needs at=RATE, where it is read off.")
  return Row(
    found["label"],
    matching(where, found["curve"], cells),
    matching(where, found["minus"], cells) if "minus" in found else (),
    found["at"],
    found.get("rate", RATE),
    found.get("paper"),
  )


def _series(where: str, given: Any, cells: Sequence[str]) -> Series:
  found = fields(where, given, {"label": "text"}, {"cells": "texts", "points": "sequence"})
  if ("cells" in found) == ("points" in found):
    raise ConfigError(
      f"{where}: give either cells=('...', ...), a point each, or points=(('...',), ...), each "
      "pooling the runs of its cells."
    )
  if "cells" in found:
    return Series(found["label"], tuple((cell,) for cell in matching(where, found["cells"], cells)))
  if not found["points"]:
    raise ConfigError(f"{where}: points is empty; each entry is the cells of one point.")
  points = []
  for number, patterns in enumerate(found["points"]):
    here = f"{where}, points[{number}]"
    points.append(matching(here, fits(here, patterns, "texts"), cells))
  unique(f"{where}, points", "cells", [cell for point in points for cell in point])
  return Series(found["label"], tuple(points))


def matching(where: str, patterns: Sequence[str], cells: Sequence[str]) -> tuple[str, ...]:
  """The cells that patterns fit.

  Args:
    where: what asks for them, with its file, for the message.
    patterns: each fits at least one cell.
    cells: ids of all cells.

  Returns:
    Ids, each once, in the order of the patterns.

  Raises:
    ConfigError: a pattern that fits no cell; names the nearest one.

  Example:
    >>> from ibjax.report.shown import matching
    >>> matching("row", ["vib/*"], ["vib/1", "ceb/1", "vib/2"])
    ('vib/1', 'vib/2')
  """
  chosen: dict[str, None] = {}
  for pattern in patterns:
    fit = [cell for cell in cells if fnmatch.fnmatchcase(cell, pattern)]
    if not fit:
      raise ConfigError(f"{where}: {unknown('cell', pattern, cells)}")
    chosen.update(dict.fromkeys(fit))
  return tuple(chosen)


def _axis(where: str, given: Any, allow_config: bool) -> Axis:
  optional = {"key": "text", "scale": "number", "log": "bool"}
  if allow_config:
    optional["config"] = "text"
  found = fields(where, given, {"label": "text"}, optional)
  if ("key" in found) == ("config" in found):
    choice = "key='METRIC' or config='SECTION.KEY'" if allow_config else "key='METRIC'"
    raise ConfigError(f"{where}: needs {choice}{', one of them' if allow_config else ''}.")
  return Axis(**found)
