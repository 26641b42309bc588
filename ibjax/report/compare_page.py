"""One self-contained HTML page over many runs, which a browser opens from disk, offline."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import pathlib
import statistics
import urllib.parse
from collections.abc import Sequence
from importlib import resources
from typing import Any

from matplotlib.figure import Figure

from ibjax.core.errors import WorkdirError
from ibjax.core.files import write_text
from ibjax.report.compare import (
  Comparison,
  Row,
  compare,
  short_names,
  split,
  student_quantiles,
  value_text,
)
from ibjax.report.compare_curves import thinned_curves
from ibjax.report.page_style import STYLE
from ibjax.report.plane import draw_mean
from ibjax.report.plots import DPI
from ibjax.report.row import MEASURED
from ibjax.report.runs import Run, is_number

SCRIPTS = ("compare_core.js", "compare_plot.js", "compare_charts.js", "compare_table.js")

# Ending of a metric's name -> (unit shown, factor to it).
UNITS = {
  "_nats": ("nats", 1.0),
  "_bits": ("bits", 1.0),
  "_frac": ("%", 100.0),
  "_per_s": ("/s", 1.0),
  "_ms": ("ms", 1.0),
  "_s": ("s", 1.0),
}

# A key with more values than this is no category to put on an axis.
MOST_CATEGORIES = 12


def write_compare_page(
  runs: Sequence[Run], out: pathlib.Path, title: str = "", notes: Sequence[str] = ()
) -> pathlib.Path:
  """Writes the page over some runs: table, filters, curves with intervals, information plane.

  Args:
    runs: the runs, at least one; any methods and data sets, finished or not.
    out: the HTML file. Links to the runs' manifests are relative to its folder.
    title: the heading; made from the methods and data sets when empty.
    notes: lines shown on top, e.g. which folders were left out and why.

  Returns:
    The file. It needs no other file and no network.

  Raises:
    WorkdirError: no runs, or the file cannot be written.
  """
  if not runs:
    raise WorkdirError(f"there is no run to put on '{out}'; give at least one.")
  if out.is_dir() or not out.parent.is_dir():
    what = "is a folder" if out.is_dir() else f"is in a folder that does not exist, '{out.parent}'"
    raise WorkdirError(f"'{out}' {what}; expected the name of an HTML file in an existing folder.")
  write_text(out, render(compare(runs), out.parent, title, notes, draw_mean(runs)))
  return out


def render(
  comparison: Comparison,
  home: pathlib.Path,
  title: str = "",
  notes: Sequence[str] = (),
  plane: Figure | None = None,
) -> str:
  """Builds the page.

  Args:
    comparison: the runs side by side.
    home: the folder the page will be in; links are relative to it.
    title: the heading; made from the methods and data sets when empty.
    notes: lines shown on top.
    plane: the information planes of the runs' layers, averaged, where they were tracked.

  Returns:
    The HTML. Whatever comes from the runs' files is escaped, or put in as text by the script.
  """
  title = title or _title(comparison)
  style = STYLE + _asset("compare.css")
  script = '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();\n"
  # The policy makes the promise binding: nothing is fetched, and nothing runs or styles but ours.
  policy = (
    f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
    f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
  )
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
    f"<header>\n<h1>{html.escape(title)}</h1>\n"
    f'<p class="facts">{html.escape(_facts(comparison))}</p>\n{_notes(notes)}</header>\n'
    + _asset("compare_body.html")
    + _tracked(plane)
    + '</main>\n<div id="tip" role="tooltip" hidden></div>\n'
    f'<script type="application/json" id="data">{embed(page_data(comparison, home))}</script>\n'
    f"<script>{script}</script>\n</body>\n</html>\n"
  )


def embed(value: Any) -> str:
  """JSON that cannot end the script element it stands in, nor open a comment.

  Args:
    value: what strict JSON can hold (no NaN).

  Returns:
    JSON text without `<`, `>` and `&`, which are written as escapes.

  Raises:
    ValueError: a number that is not finite.

  Example:
    >>> from ibjax.report.compare_page import embed
    >>> embed({"name": "</script><!--"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
  """
  text = json.dumps(value, separators=(",", ":"), allow_nan=False)
  for character in "<>&":
    text = text.replace(character, f"\\u{ord(character):04x}")
  return text


def page_data(comparison: Comparison, home: pathlib.Path) -> dict[str, Any]:
  """Everything the page's script shows, as JSON values.

  Args:
    comparison: the runs side by side.
    home: the folder the page will be in.

  Returns:
    {"keys", "columns", "metrics", "axes", "groups", "student", "entropy", "common", "runs",
    "curves"}; rows are named by their number everywhere.
  """
  rows = comparison.rows
  short = short_names(comparison.keys)
  group, groups = split(comparison)
  first = rows[0].config
  differ = set(comparison.keys)
  parents = _common_parent([row.run.path for row in rows])
  return {
    "keys": [{"key": key, "short": short[key]} for key in comparison.keys],
    "columns": list(comparison.columns),
    "metrics": [_metric(name) for name in _ordered(comparison.metrics)],
    "axes": [_axis(comparison, key) for key in _axis_keys(comparison)],
    "groups": groups,
    "student": [round(t, 6) for t in student_quantiles(max(30, len(rows)))],
    "entropy": label_entropies(rows),
    "common": {key: value_text(value) for key, value in first.items() if key not in differ},
    "runs": [
      {
        "name": _relative(row.run.path, parents),
        "href": _link(row.run.path / "manifest.json", home),
        "method": row.method,
        "data": row.data,
        "status": row.status,
        "step": row.step,
        "command": _command(row),
        "group": group[number],
        "config": {k: _value(row.config[k]) for k in comparison.keys if k in row.config},
        "final": {name: float(f"{value:.8g}") for name, value in row.final.items()},
      }
      for number, row in enumerate(rows)
    ],
    "curves": thinned_curves(rows, group),
  }


def label_entropies(rows: Sequence[Row]) -> dict[str, float]:
  """The entropy of the label of each data set, from what the runs report of it.

  Formula: H(Y) = (I(Y;Z) lower) + distortion, as the bound is H(Y) minus the distortion.

  Args:
    rows: the runs; those that classify and report both values are used.

  Returns:
    Data set -> H(Y) in nats, where at least one run tells it and all that do agree to 1%.
  """
  found: dict[str, list[float]] = {}
  for row in rows:
    bound, distortion = (
      row.final.get(f"test/{name}") for name in ("i_yz_lower_nats", "distortion_nats")
    )
    # Without an error rate the label is perhaps no class, and its entropy no bound on I(Y;Z).
    if bound is not None and distortion is not None and "test/err_frac" in row.final:
      found.setdefault(row.data, []).append(bound + distortion)
  entropies = {data: statistics.median(values) for data, values in found.items()}
  return {
    data: round(entropy, 6)
    for data, entropy in entropies.items()
    if entropy > 0 and all(abs(value - entropy) <= 0.01 * entropy for value in found[data])
  }


def _axis_keys(comparison: Comparison) -> list[str]:
  """What can be the x of a plot: numbers first, then categories; the method if nothing else."""
  rows = comparison.rows
  numeric, categories = [], []
  for key in comparison.columns:
    values = [row.config[key] for row in rows if key in row.config]
    if key == "seed" or len({value_text(value) for value in values}) < 2:
      continue
    if all(is_number(value) for value in values):
      numeric.append(key)
    elif len({value_text(value) for value in values}) <= MOST_CATEGORIES:
      categories.append(key)
  # The price of the rate is what most sweeps are over.
  numeric.sort(key=lambda key: not key.endswith("beta"))
  names = [n for n in ("method", "data") if len({getattr(row, n) for row in rows}) > 1]
  return numeric + names + categories or ["method"]


def _axis(comparison: Comparison, key: str) -> dict[str, Any]:
  series, names = split(comparison, ("seed", key))
  values = [row.config.get(key) for row in comparison.rows if key in row.config]
  numeric = key not in ("method", "data") and all(is_number(value) for value in values)
  return {"key": key, "numeric": numeric, "series": series, "names": names}


def _metric(name: str) -> dict[str, Any]:
  suffix = next((ending for ending in UNITS if name.endswith(ending)), "")
  unit, factor = UNITS.get(suffix, ("", 1.0))
  for header, key, _, meaning in MEASURED:
    if key == name:
      label = header.removesuffix(f" {unit}")
      return dict(key=name, label=label, unit=unit, factor=factor, meaning=meaning, shown=True)
  label = name.removesuffix(suffix).replace("/", " ")
  return dict(key=name, label=label, unit=unit, factor=factor, meaning=name, shown=False)


def _ordered(metrics: Sequence[str]) -> list[str]:
  """The metrics of the result row in its order, then the rest by name."""
  known = [key for _, key, _, _ in MEASURED]
  front = [key for key in dict.fromkeys(known) if key in metrics]
  return front + sorted(set(metrics) - set(front))


def _value(value: Any) -> list[Any]:
  """[text, number or None]: what is shown, and what is sorted and drawn by."""
  finite = is_number(value) and abs(value) < float("inf")
  return [value_text(value), float(value) if finite else None]


def _command(row: Row) -> str:
  command = row.run.manifest.get("command", "")
  return command if isinstance(command, str) else json.dumps(command)


def _common_parent(paths: Sequence[pathlib.Path]) -> str:
  return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])


def _relative(path: pathlib.Path, start: str | pathlib.Path) -> str:
  return pathlib.PurePath(os.path.relpath(path, start)).as_posix()


def _link(path: pathlib.Path, home: pathlib.Path) -> str:
  # "./" in front, so that a folder called "x:y" is not read as a scheme.
  return "./" + urllib.parse.quote(_relative(path, os.path.abspath(home)))


def _title(comparison: Comparison) -> str:
  methods = sorted({row.method for row in comparison.rows})
  data = sorted({row.data for row in comparison.rows} - {""})
  shown = ", ".join(methods[:4]) + (", …" if len(methods) > 4 else "")
  return shown + (f" on {', '.join(data)}" if 0 < len(data) < 4 else "")


def _tracked(plane: Figure | None) -> str:
  if plane is None:
    return ""
  content = io.BytesIO()
  plane.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
  image = base64.b64encode(content.getvalue()).decode()
  return (
    '<section>\n<h2>Layers through training</h2>\n<figure class="layers">'
    f'<img alt="Information plane of the layers" src="data:image/png;base64,{image}">'
    "<figcaption>Means over the runs. Each number is a layer, in the order of the computation; "
    "colour is the training step; the dashed line is the most that a code of that I(X;T) can know "
    "of the label.</figcaption></figure>\n</section>\n"
  )


def _facts(comparison: Comparison) -> str:
  count = len(comparison.rows)
  keys = ", ".join(comparison.columns) or "nothing"
  return f"{count} run{'s' * (count != 1)} · they differ in {keys}"


def _notes(notes: Sequence[str]) -> str:
  if not notes:
    return ""
  items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
  many = f"{len(notes)} folder{'s' * (len(notes) != 1)} or file{'s' * (len(notes) != 1)}"
  return (
    f'<details class="note" open><summary>{many} could not be read whole</summary>'
    f"<ul>{items}</ul></details>\n"
  )


def _asset(name: str) -> str:
  return (resources.files("ibjax.report") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
  return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
