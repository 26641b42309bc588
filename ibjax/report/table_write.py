"""Tables as files: Markdown and LaTeX to read, CSV with every number unrounded."""

from __future__ import annotations

import csv
import io
import math
import pathlib
from collections.abc import Callable, Sequence

from ibjax.core.files import write_text
from ibjax.report.shown import Paper
from ibjax.report.statistics import KINDS, LEVEL
from ibjax.report.table import Assembled, Entry, Line, best

CSV_COLUMNS = (
  *("row", "cells", "metric", "unit", "mean", "low", "high", "sd", "n"),
  *("paper", "paper_sd", "paper_n", "test", "difference", "p"),
  *("missing", "stale", "diverged", "config_hashes"),
)


def _as_it_is(text: str) -> str:
  return text


def caption(assembled: Assembled) -> str:
  """What a reader must know of a table's numbers.

  Args:
    assembled: the table.

  Returns:
    Sentences: the experiment's own, the interval, n, the tests, and what is left out.
  """
  entries = [entry for line in assembled.lines for entry in line.entries]
  parts = [assembled.table.caption.strip()] if assembled.table.caption.strip() else []
  counts = sorted({entry.interval.n for entry in entries if entry.interval.n})
  n = (
    f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}" if counts else ""
  )
  if n:
    shape = "mean ± half width of the" if assembled.kind == "t" else "mean and"
    # Pooled runs differ in more than the seed: in the data they were given.
    what = "runs" if any(line.row.pooled for line in assembled.lines) else "seeds"
    parts.append(f"Shown: {shape} {KINDS[assembled.kind]} interval over {what} ({n}).")
  tests = sorted({entry.comparison.test for entry in entries if entry.comparison})
  against = [f"{name} test" for name in tests if name != "paired t"]
  if against:
    parts.append(
      f"Difference to the paper's number: {' or '.join(against)}, two-sided, * where p < "
      f"{1 - LEVEL:.2f}, not corrected for the number of cells; n/a with fewer than two seeds."
    )
  if "paired t" in tests:
    parts.append("Differences of methods: paired t test over seeds against zero.")
  diverged = {s.run.name for line in assembled.lines for s in line.runs if s.state == "diverged"}
  if diverged:
    runs = "1 diverged run is" if len(diverged) == 1 else f"{len(diverged)} diverged runs are"
    parts.append(f"{runs} not in the means.")
  if any(line.row.at is not None for line in assembled.lines):
    parts.append(
      "At an equal rate: interpolated per seed, linear in log(rate), never extrapolated."
    )
  if measures := sorted({line.row.by for line in assembled.lines if line.row.by}):
    parts.append(f"Chosen per seed by the least {' or '.join(measures)}.")
  if best(assembled):
    parts.append("Bold: the best mean of a column.")
  if assembled.left_out:
    parts.append(f"Not part of this budget: {', '.join(assembled.left_out)}.")
  return " ".join(parts)


def grid(
  assembled: Assembled,
  escape: Callable[[str], str] = _as_it_is,
  mark: Callable[[str], str] = _as_it_is,
) -> tuple[list[str], list[list[str]]]:
  """A table as texts: a column per metric, and the paper's number and p beside it.

  Args:
    assembled: the table.
    escape: applied to every text.
    mark: applied to the best mean of a column, escaped.

  Returns:
    (headers, rows); every row is as long as the headers. The first column is the label, the last
    two are n and notes (notes only where a row has one).
  """
  columns = assembled.table.columns
  compared = [
    (
      any(line.entries[k].published is not None for line in assembled.lines),
      any(line.entries[k].comparison is not None for line in assembled.lines),
    )
    for k in range(len(columns))
  ]
  notes = any(notes_text(line) for line in assembled.lines)
  headers = [""]
  for column, (published, tested) in zip(columns, compared):
    headers.append(f"{column.header}, {column.unit}" if column.unit else column.header)
    headers += ["paper"] * published + ["p"] * tested
  headers += ["n"] + ["notes"] * notes
  rows, top = [], best(assembled)
  for number, line in enumerate(assembled.lines):
    row = [escape(line.row.label)]
    for k, (entry, (published, tested)) in enumerate(zip(line.entries, compared)):
      row.append(mark(escape(entry.text)) if top.get(k) == number else escape(entry.text))
      row += [escape(entry.published_text)] * published + [escape(p_text(entry))] * tested
    row += [escape(seeds_text(line))] + [escape(notes_text(line))] * notes
    rows.append(row)
  return [escape(header) for header in headers], rows


def p_text(entry: Entry) -> str:
  """The p value of a cell's comparison.

  Args:
    entry: the cell.

  Returns:
    "0.012 *", "0.4", "<0.001 *", "n/a" (fewer than two seeds), or "" when nothing is compared.
  """
  if entry.comparison is None:
    return ""
  p = entry.comparison.p
  if math.isnan(p):
    return "n/a"
  text = "<0.001" if p < 0.001 else f"{p:.2g}" if p < 0.995 else "1"
  return f"{text} *" if entry.comparison.significant else text


def markdown(assembled: Assembled, paper: Paper) -> str:
  """A table in Markdown.

  Args:
    assembled: the table.
    paper: the paper, named below it.

  Returns:
    Title, table, caption and source; the best mean of a column is bold.
  """
  headers, rows = grid(assembled, _md, lambda text: f"**{text}**")
  rule = ["---"] + [" ---: " if header != "notes" else " --- " for header in headers[1:]]
  lines = [f"## {assembled.table.title}", "", _md_row(headers), f"|{'|'.join(rule)}|"]
  lines += [_md_row(row) for row in rows]
  source = f"Paper: {paper.authors} ({paper.year}), {paper.title}. {paper.url}"
  return "\n".join([*lines, "", caption(assembled), "", source, ""])


def latex(assembled: Assembled, paper: Paper) -> str:
  """A table in LaTeX, for the package booktabs.

  Args:
    assembled: the table.
    paper: the paper, named in the caption.

  Returns:
    A `table` environment.
  """
  headers, rows = grid(assembled, _tex, lambda text: rf"\textbf{{{text}}}")
  sides = "l" + "".join("l" if header == "notes" else "r" for header in headers[1:])
  text = f"{assembled.table.title}. {caption(assembled)} Paper: {paper.authors} ({paper.year})."
  return "\n".join(
    [
      "% Needs \\usepackage{booktabs}.",
      r"\begin{table}",
      r"  \centering",
      f"  \\caption{{{_tex(text)}}}",
      f"  \\label{{tab:{assembled.table.name}}}",
      f"  \\begin{{tabular}}{{{sides}}}",
      r"    \toprule",
      f"    {' & '.join(headers)} \\\\",
      r"    \midrule",
      *(f"    {' & '.join(row)} \\\\" for row in rows),
      r"    \bottomrule",
      r"  \end{tabular}",
      r"\end{table}",
      "",
    ]
  )


def comma_separated(assembled: Assembled) -> str:
  """A table as CSV: a line per row and metric, every number unrounded, in the column's unit.

  Args:
    assembled: the table.

  Returns:
    The text; what does not exist is empty.
  """
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(CSV_COLUMNS)
  for line in assembled.lines:
    hashes = " ".join(dict.fromkeys(status.run.config_hash for status in line.runs))
    cells = " ".join(line.row.cells + line.row.minus)
    for entry in line.entries:
      found, other, test = entry.interval, entry.published, entry.comparison
      writer.writerow(
        [line.row.label, cells, entry.column.key, entry.column.unit]
        + [_number(value) for value in (found.mean, found.low, found.high, found.sd)]
        + [found.n]
        + ([other.value, _number(other.sd), other.n or ""] if other else ["", "", ""])
        + ([test.test, _number(test.difference), _number(test.p)] if test else ["", "", ""])
        + [entry.missing, entry.stale, entry.diverged, hashes]
      )
  return out.getvalue()


def write_tables(
  folder: pathlib.Path, assembled: Sequence[Assembled], paper: Paper
) -> list[pathlib.Path]:
  """Writes every table as .md, .csv and .tex.

  Args:
    folder: where; it must exist.
    assembled: the tables. A single one is named "table", of several each "table_NAME".
    paper: the paper.

  Returns:
    The files written.
  """
  written = []
  for one in assembled:
    name = "table" if len(assembled) == 1 else f"table_{one.table.name}"
    texts = {"md": markdown(one, paper), "csv": comma_separated(one), "tex": latex(one, paper)}
    for suffix, text in texts.items():
      written.append(folder / f"{name}.{suffix}")
      write_text(written[-1], text)
  return written


def seeds_text(line: Line) -> str:
  """How many seeds are in a row's means.

  Args:
    line: the row.

  Returns:
    "5", or "3–5" where metrics differ.
  """
  counts = sorted({entry.interval.n for entry in line.entries if entry.interval.n})
  return "0" if not counts else "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))


def notes_text(line: Line) -> str:
  """What is not in a row's means.

  Args:
    line: the row.

  Returns:
    e.g. "1 of 5 diverged"; "" when all is in them.
  """
  return "; ".join(dict.fromkeys(entry.note for entry in line.entries if entry.note))


def _md(text: str) -> str:
  return text.replace("|", "\\|").replace(" *", " \\*")


def _md_row(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"


def _tex(text: str) -> str:
  for plain, written in (
    ("\\", r"\textbackslash "),
    *((sign, f"\\{sign}") for sign in "&%$#_{}"),
    ("~", r"\textasciitilde "),
    ("^", r"\textasciicircum "),
    ("±", r"$\pm$"),
    ("<", "$<$"),
    ("−", "$-$"),
    ("–", "--"),
    ("β", r"$\beta$"),
  ):
    text = text.replace(plain, written)
  return text


def _number(value: float | None) -> str:
  return "" if value is None or math.isnan(value) else repr(float(value))
