"""The page of an experiment: tables beside the paper's numbers, figures, the runs of each cell."""

from __future__ import annotations

import base64
import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ibjax.core.errors import WorkdirError
from ibjax.core.files import write_text
from ibjax.report import table_correlations, table_figures, table_planes
from ibjax.report.experiment import Experiment
from ibjax.report.page import document
from ibjax.report.page_style import STYLE
from ibjax.report.results import DIVERGED, Status
from ibjax.report.row import number
from ibjax.report.runs import is_number
from ibjax.report.table import Assembled, Line, assemble, best, run_rows
from ibjax.report.table_page_style import SCRIPT, TABLE_STYLE
from ibjax.report.table_write import caption, notes_text, p_text, seeds_text, write_tables

# (cell, seed) -> the run's row with what is derived from it.
Rows = Mapping[tuple[str, int], Mapping[str, Any]]

MARKS = {"differs": "≠", "agrees": "≈", "n/a": "n/a"}
MEANING = {
  "differs": "differs from what it is compared with (p < 0.05)",
  "agrees": "no significant difference to what it is compared with",
  "n/a": "fewer than two seeds: nothing can be said",
}


def write_outputs(
  experiment: Experiment, budget: str, statuses: Sequence[Status], kind: str
) -> list[pathlib.Path]:
  """Writes an experiment's tables, figures and page.

  Args:
    experiment: the experiment.
    budget: the budget's name; the files go to the folder of that name in the experiment's.
    statuses: the runs of that budget.
    kind: which interval over seeds.

  Returns:
    The files written.

  Raises:
    WorkdirError: the folder cannot be made.
  """
  folder = experiment.folder / budget
  try:
    folder.mkdir(exist_ok=True)
  except OSError as error:
    raise WorkdirError(f"cannot make {folder}: {error.strerror or error}.") from error
  assembled = assemble(experiment, statuses, kind)
  rows = run_rows(experiment, statuses)
  written = write_tables(folder, assembled, experiment.paper)
  written += table_correlations.write(folder, experiment.correlations, rows)
  figures = table_figures.write_figures(folder, experiment, rows, statuses, kind)
  runs = [status.run for status in statuses]
  planes = table_planes.write(experiment.folder, budget, experiment.planes, runs)
  page = folder / "report.html"
  write_text(page, render(experiment, budget, statuses, assembled, figures, planes, kind))
  pictures = [path.with_suffix(suffix) for path in figures.values() for suffix in (".png", ".svg")]
  return [*written, *pictures, *(path for path, _ in planes.values()), page]


def render(
  experiment: Experiment,
  budget: str,
  statuses: Sequence[Status],
  assembled: Sequence[Assembled],
  figures: Mapping[str, pathlib.Path],
  planes: Mapping[str, tuple[pathlib.Path, str]],
  kind: str,
) -> str:
  """Builds the page.

  Args:
    experiment: the experiment.
    budget: the budget's name.
    statuses: the runs of that budget.
    assembled: its tables.
    figures: name -> .svg file.
    planes: name -> (.png file, caption), of information planes.
    kind: which interval over seeds.

  Returns:
    The HTML, with everything from files escaped.
  """
  sections = [_header(experiment, budget, statuses)]
  rows = {
    (cell, row["seed"]): row
    for cell, some in run_rows(experiment, statuses).items()
    for row in some
  }
  sections += [_table(k, one, experiment, rows) for k, one in enumerate(assembled)]
  by_cell = run_rows(experiment, statuses)
  sections += [table_correlations.section(one, by_cell) for one in experiment.correlations]
  sections.append(_figures(experiment, statuses, figures, kind))
  sections.append(_planes(planes))
  sections.append(_command(experiment, budget))
  body = "\n".join(section for section in sections if section)
  return document(f"{experiment.paper.title}: tables", body, STYLE + TABLE_STYLE, SCRIPT)


def _e(value: Any) -> str:
  return html.escape(str(value), quote=True)


def _header(experiment: Experiment, budget: str, statuses: Sequence[Status]) -> str:
  paper = experiment.paper
  counts = {s: sum(status.state == s for status in statuses) for s in ("missing", "stale")}
  diverged = sum(status.state == "diverged" for status in statuses)
  there = len(statuses) - sum(counts.values())
  whole = there == len(statuses)
  chip = "done" if whole else "open"
  words = "complete" if whole else f"{there} of {len(statuses)} runs"
  facts = [f"{len(statuses)} runs asked for"]
  facts += [f"{count} {word}" for word, count in {**counts, "diverged": diverged}.items() if count]
  lines = [status.line for status in statuses if status.line]
  commits = sorted({line["commit"][:10] for line in lines if line["commit"]})
  if commits:
    facts.append("commit " + ", ".join(commits))
  jax = sorted({line["versions"]["jax"] for line in lines if "jax" in line["versions"]})
  facts += [f"jax {version}" for version in jax]
  address = _e(paper.url)
  link = f'<a href="{address}">{address}</a>' if paper.url.startswith("https://") else address
  return (
    f'<header>\n<p class="kicker">Reproduction, budget {_e(budget)} '
    f'<span class="chip {chip}">{_e(words)}</span></p>\n<h1>{_e(paper.title)}</h1>\n'
    f'<p class="facts">{_e(paper.authors)}, {paper.year}. {link}</p>\n'
    f'<p class="facts">{_e(" · ".join(facts))}</p>\n</header>'
  )


def _table(index: int, assembled: Assembled, experiment: Experiment, rows: Rows) -> str:
  columns = assembled.table.columns
  entries = [[line.entries[k] for line in assembled.lines] for k in range(len(columns))]
  published = [any(entry.published for entry in some) for some in entries]
  tested = [any(entry.comparison for entry in some) for some in entries]
  notes = any(notes_text(line) for line in assembled.lines)
  top, under = '<th rowspan="2"></th>', ""
  for column, other, test in zip(columns, published, tested):
    unit = f' <span class="unit">{_e(column.unit)}</span>' if column.unit else ""
    width = 1 + other + test
    head = f"{_e(column.header)}{unit}"
    top += f'<th class="group" colspan="{width}" title="{_e(column.key)}">{head}</th>'
    under += f'<th class="num ours">{"ours" * (width > 1)}</th>'
    under += '<th class="num">paper</th>' * other
    under += '<th class="num" title="two-sided p value">p</th>' * test
  top += '<th class="num" rowspan="2">n</th>' + '<th class="word" rowspan="2">notes</th>' * notes
  body = ""
  winners = best(assembled)
  for number_, line in enumerate(assembled.lines):
    name = f"runs-{index}-{number_}"
    cells = f'<td class="word"><a href="#{name}" data-runs="{name}">{_e(line.row.label)}</a></td>'
    for k, (entry, other, test) in enumerate(zip(line.entries, published, tested)):
      strong = " best" if winners.get(k) == number_ else ""
      cells += f'<td class="num ours{strong}">{_e(entry.text)}</td>'
      if other:
        cells += f'<td class="num theirs">{_e(entry.published_text)}</td>'
      if test:
        mark = entry.mark
        sign = (
          f'<span class="mark {mark.replace("/", "")}" title="{_e(MEANING[mark])}">'
          f"{MARKS[mark]}</span>"
          if mark
          else ""
        )
        p = p_text(entry).rstrip(" *").replace("n/a", "")
        cells += f'<td class="num p">{_e(p)} {sign}</td>'
    cells += f'<td class="num">{_e(seeds_text(line))}</td>'
    cells += f'<td class="word note-cell">{_e(notes_text(line))}</td>' * notes
    body += f"<tr>{cells}</tr>\n"
  sources = "; ".join(
    f"{line.row.label}: {experiment.paper.sources[line.row.paper]}"
    for line in assembled.lines
    if line.row.paper
  )
  told = f"<p class='small'>Paper's numbers: {_e(sources)}.</p>" if sources else ""
  signs = (
    '<p class="small legend"><span class="mark differs">≠</span> differs '
    '(p &lt; 0.05) <span class="mark agrees">≈</span> no significant difference</p>'
    if any(tested)
    else ""
  )
  runs = "".join(_runs(f"runs-{index}-{k}", line, rows) for k, line in enumerate(assembled.lines))
  return (
    f'<section class="result"><h2>Table {index + 1}. {_e(assembled.table.title)}</h2>\n'
    f'<div class="wide"><table class="paper"><thead><tr>{top}</tr><tr>{under}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>\n"
    f'<p class="caption">{_e(caption(assembled))}</p>{signs}{told}\n'
    f'<div class="runs"><h3>Where each row comes from</h3>{runs}</div></section>'
  )


def _runs(name: str, line: Line, rows: Rows) -> str:
  """The runs behind a row: state, values, hashes, versions and the command of each."""
  there = [_row(status, rows) for status in line.runs]
  columns = {entry.column.key: entry.column for entry in line.entries}
  metrics = [
    (key, column)
    for key, column in columns.items()
    if any(is_number(row.get(key)) for row in there)
  ]
  head = '<th class="word">cell</th><th class="num">seed</th><th class="word">state</th>'
  head += "".join(
    f'<th class="num" title="{_e(column.header)}">{_e(key)}</th>' for key, column in metrics
  )
  head += "".join(
    f'<th class="word">{word}</th>' for word in ("config", "code", "commit", "finished")
  )
  body, commands = "", []
  for status, row in zip(line.runs, there):
    one = status.line
    state = status.state + (f": another {' and '.join(status.stale)}" if status.stale else "")
    if DIVERGED in row:
      state = f"diverged at step {row[DIVERGED]}"
    cells = f'<td class="word">{_e(status.run.cell)}</td><td class="num">{status.run.seed}</td>'
    cells += f'<td class="word {_e(status.state)}">{_e(state)}</td>'
    for key, _ in metrics:
      value: Any = row.get(key)
      cells += f'<td class="num">{_e(number(float(value))) if is_number(value) else "–"}</td>'
    for text in (
      status.run.config_hash,
      status.run.code,
      one["commit"][:10] + ("+dirty" if one["commit"].endswith("+dirty") else "") if one else "",
      one["finished"] if one else "",
    ):
      cells += f'<td class="word mono">{_e(text)}</td>'
    body += f"<tr>{cells}</tr>"
    commands.append(status.run.command)
  lines = [status.line for status in line.runs if status.line]
  facts = {
    "config file": {status.run.config_file for status in line.runs},
    "data": {f"{one['data'].get('name')} {one['data']['fingerprint'][:12]}" for one in lines},
    "devices": {", ".join(map(str, one["devices"])) for one in lines},
    "versions": {
      ", ".join(f"{key} {value}" for key, value in one["versions"].items()) for one in lines
    },
  }
  told = "".join(
    f"<dt>{_e(key)}</dt><dd>{'<br>'.join(_e(value) for value in sorted(found) if value)}</dd>"
    for key, found in facts.items()
    if any(found)
  )
  shown = "\n".join(_e(command) for command in commands)
  return (
    f'<details id="{name}"><summary>{_e(line.row.label)} <span class="small">'
    f"{len(line.runs)} runs</span></summary>"
    f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    f"<dl>{told}</dl><p class='small'>Each run by itself:</p>"
    f"<pre><code>{shown}</code></pre></details>"
  )


def _row(status: Status, rows: Rows) -> Mapping[str, Any]:
  own = status.line["result"] if status.line else {}
  return rows.get((status.run.cell, status.run.seed), own)


def _figures(
  experiment: Experiment,
  statuses: Sequence[Status],
  figures: Mapping[str, pathlib.Path],
  kind: str,
) -> str:
  shown = ""
  for count, asked in enumerate((f for f in experiment.figures if f.name in figures), start=1):
    content = base64.b64encode(figures[asked.name].read_bytes()).decode()
    text = table_figures.caption(asked, statuses, kind)
    wide = " many" if len(asked.y) > 1 else ""
    shown += (
      f'<figure class="chart{wide}"><img alt="{_e(asked.title)}" '
      f'src="data:image/svg+xml;base64,{content}">'
      f"<figcaption><b>Figure {count}.</b> {_e(text)}</figcaption></figure>"
    )
  return f'<div class="figures">\n{shown}\n</div>' if shown else ""


def _planes(planes: Mapping[str, tuple[pathlib.Path, str]]) -> str:
  shown = ""
  for path, text in planes.values():
    content = base64.b64encode(path.read_bytes()).decode()
    shown += (
      f'<figure class="chart many"><img alt="{_e(text)}" src="data:image/png;base64,{content}">'
      f"<figcaption>{_e(text)}</figcaption></figure>"
    )
  return f'<div class="figures">\n{shown}\n</div>' if shown else ""


def _command(experiment: Experiment, budget: str) -> str:
  command = f"ibjax table experiments/{experiment.name}" + (
    f" --budget={budget}" if budget != "quick" else ""
  )
  return (
    '<section><h2>Make it again</h2><div class="command"><pre><code id="command">'
    f'{_e(command)}</code></pre><button type="button" id="copy">Copy</button></div>'
    f'<p class="small">Budgets: {_e(json.dumps(_budgets(experiment)))}</p></section>'
  )


def _budgets(experiment: Experiment) -> dict[str, Any]:
  return {
    name: {"seeds": list(one.seeds), "overrides": dict(one.overrides)}
    for name, one in experiment.budgets.items()
  }
