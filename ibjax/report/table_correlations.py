"""Tables of correlations over the runs of cells: of several quantities with one."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ibjax.core.errors import ConfigError
from ibjax.core.files import write_text
from ibjax.report.runs import is_number
from ibjax.report.schema import among, fields, fits, unique
from ibjax.report.shown import matching
from ibjax.report.statistics import Interval, correlation

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Population:
  """The runs of one row: of a cell, or of several together.

  Attributes:
    label: what they are, in words.
    asked: the cell, or the patterns as written.
    cells: ids.
  """

  label: str
  asked: str
  cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Correlations:
  """One table: a row per population, a column per quantity, each correlated with `key`.

  Attributes:
    name: of its files, table_NAME.
    title: shown.
    key: the metric that all are correlated with.
    label: what it is, in words.
    columns: (metric, header).
    rows: whose runs.
    caption: shown below.
  """

  name: str
  title: str
  key: str
  label: str
  columns: tuple[tuple[str, str], ...]
  rows: tuple[Population, ...]
  caption: str = ""


def correlations(where: str, given: Any, cells: Sequence[str]) -> tuple[Correlations, ...]:
  """Checks `CORRELATIONS` of a table.py.

  Args:
    where: the file and name, for messages.
    given: what stands there.
    cells: ids of all cells.

  Returns:
    The tables.

  Raises:
    ConfigError: a key, a value or a name does not fit.
  """
  found = []
  for number, entry in enumerate(fits(where, given, "sequence")):
    here = f"{where}[{number}]"
    keys = {"name": "text", "title": "text", "key": "text", "label": "text"}
    keys |= {"columns": "sequence", "rows": "sequence"}
    one = fields(here, entry, keys, {"caption": "words"})
    columns, rows = [], []
    for k, column in enumerate(one["columns"]):
      column = fields(f"{here}, columns[{k}]", column, {"key": "text", "header": "text"}, {})
      columns.append((column["key"], column["header"]))
    for k, row in enumerate(one["rows"]):
      rows.append(_population(f"{here}, rows[{k}]", row, cells))
    unique(f"{here}, rows", "labels", [row.label for row in rows])
    found.append(Correlations(**{**one, "columns": tuple(columns), "rows": tuple(rows)}))
  unique(where, "correlations", [one.name for one in found])
  return tuple(found)


def _population(where: str, given: Any, cells: Sequence[str]) -> Population:
  row = fields(where, given, {"label": "text"}, {"cell": "text", "cells": "texts"})
  if ("cell" in row) == ("cells" in row):
    raise ConfigError(f"{where}: give either cell='...', or cells=('...', ...), pooled.")
  if "cell" in row:
    among(where, "cell", row["cell"], cells)
    return Population(row["label"], row["cell"], (row["cell"],))
  return Population(row["label"], ";".join(row["cells"]), matching(where, row["cells"], cells))


def values(asked: Correlations, rows: Rows) -> dict[tuple[str, str], Interval]:
  """Correlates.

  Args:
    asked: the table.
    rows: cell -> rows of its finished runs.

  Returns:
    (label, metric) -> the correlation, over the runs that have both numbers.
  """
  found = {}
  for one in asked.rows:
    for key, _ in asked.columns:
      pairs = [
        (float(row[asked.key]), float(row[key]))
        for cell in one.cells
        for row in rows.get(cell, ())
        if is_number(row.get(asked.key)) and is_number(row.get(key))
      ]
      found[one.label, key] = correlation([a for a, _ in pairs], [b for _, b in pairs])
  return found


def text(found: Interval) -> str:
  """A correlation as shown.

  Args:
    found: as `values` gives it.

  Returns:
    "0.31 [-0.05, 0.60]"; "n/a" where it cannot be said.
  """
  if math.isnan(found.mean):
    return "n/a"
  return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def caption(asked: Correlations, found: Mapping[tuple[str, str], Interval]) -> str:
  """What a reader must know of the numbers.

  Args:
    asked: the table.
    found: as `values` gives it.

  Returns:
    Sentences.
  """
  counts = sorted({one.n for one in found.values()})
  n = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
  runs = "seeds" if all(len(one.cells) == 1 for one in asked.rows) else "runs"
  own = f"{asked.caption.strip()} " if asked.caption.strip() else ""
  return (
    f"{own}Shown: Pearson's correlation with {asked.label} over {runs} (n = {n}) and its 95% "
    "interval (Fisher), not corrected for the number of cells."
  )


def write(folder: pathlib.Path, tables: Sequence[Correlations], rows: Rows) -> list[pathlib.Path]:
  """Writes every table as .md and .csv.

  Args:
    folder: where; it must exist.
    tables: the tables.
    rows: cell -> rows of its finished runs.

  Returns:
    The files written.
  """
  written = []
  for asked in tables:
    found = values(asked, rows)
    heads = [header for _, header in asked.columns]
    lines = [f"## {asked.title}", "", f"|  | {' | '.join(heads)} |"]
    lines.append("|---|" + " ---: |" * len(heads))
    for row in asked.rows:
      shown = [text(found[row.label, key]) for key, _ in asked.columns]
      lines.append(f"| {row.label} | {' | '.join(shown)} |")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "cell", "metric", "with", "r", "low", "high", "n"))
    for row in asked.rows:
      for key, _ in asked.columns:
        one = found[row.label, key]
        numbers = ["" if math.isnan(v) else repr(v) for v in (one.mean, one.low, one.high)]
        writer.writerow((row.label, row.asked, key, asked.key, *numbers, one.n))
    texts = {"md": "\n".join([*lines, "", caption(asked, found), ""]), "csv": out.getvalue()}
    for suffix, content in texts.items():
      written.append(folder / f"table_{asked.name}.{suffix}")
      write_text(written[-1], content)
  return written


def section(asked: Correlations, rows: Rows) -> str:
  """The table for a page.

  Args:
    asked: the table.
    rows: cell -> rows of its finished runs.

  Returns:
    HTML, with everything escaped.
  """
  found = values(asked, rows)
  head = "".join(f'<th class="num">{html.escape(header)}</th>' for _, header in asked.columns)
  body = ""
  for row in asked.rows:
    cells = "".join(
      f'<td class="num">{html.escape(text(found[row.label, key]))}</td>' for key, _ in asked.columns
    )
    body += f'<tr><td class="word">{html.escape(row.label)}</td>{cells}</tr>'
  return (
    f'<section class="result"><h2>{html.escape(asked.title)}</h2><div class="wide">'
    f'<table class="paper"><thead><tr><th class="word"></th>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>"
    f'<p class="caption">{html.escape(caption(asked, found))}</p></section>'
  )
