"""The runs of a sweep in one table, the best validation value first."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from ibjax.core.errors import WorkdirError, unknown
from ibjax.report.row import number, percent, row_cells
from ibjax.report.runs import Run, is_number, read_run


def ranking(folders: Sequence[pathlib.Path], metric: str) -> str:
  """Writes the runs as a table, sorted by a metric.

  Args:
    folders: run folders, in the order of the points; a run need not have begun.
    metric: a name of the final row, e.g. "validation/err_frac"; lower is better.

  Returns:
    A header and one line per run: those with the metric, lowest first, then diverged and
    unfinished ones in order. Without any value of the metric all stay in order, and a last line
    says why.
  """
  runs = [_read(folder) for folder in folders]
  ranked = [run for run in runs if _ranks(run, metric)]
  ranked.sort(key=lambda run: run.result[metric])
  rest = [run for run in runs if not _ranks(run, metric)]
  text = _table([*ranked, *rest], metric if ranked else "")
  if ranked:
    return f"{text}\nsorted by {metric}, lowest first"
  names = sorted({name for run in runs for name in run.result if name.startswith("validation/")})
  if names:
    return f"{text}\nnot sorted: {unknown('metric', metric, names)}"
  if not any(run.finished for run in runs):
    return f"{text}\nnot sorted: no run is finished"
  return (
    f"{text}\nnot sorted: the runs have no validation data to select by (selecting by test data is "
    "not offered). Set --config.data.validation."
  )


def _read(folder: pathlib.Path) -> Run:
  try:
    return read_run(folder)
  except WorkdirError:  # not begun, or damaged: the other rows are still worth showing
    return Run(folder, {}, {}, ())


def _ranks(run: Run, metric: str) -> bool:
  return "diverged_at_step" not in run.result and is_number(run.result.get(metric))


def _state(run: Run) -> str:
  if "diverged_at_step" in run.result:
    return f"diverged at step {run.result['diverged_at_step']}"
  if run.finished:
    return ""
  if run.manifest:
    return f"unfinished, step {run.step}"
  return "unreadable" if (run.path / "manifest.json").exists() else "not begun"


def _table(runs: Sequence[Run], metric: str) -> str:
  rows: list[dict[str, str]] = []
  for run in runs:
    row = {"run": run.path.name}
    if metric:
      value: Any = run.result.get(metric)
      write = percent if metric.endswith("_frac") else number
      header = metric.replace("_frac", " %").replace("_nats", " nats")
      row[header] = write(float(value)) if is_number(value) else ""
    if run.finished:
      row |= {cell.header: cell.text for cell in row_cells(run) if not cell.is_text}
    rows.append({**row, "state": _state(run)})
  headers = list(dict.fromkeys(name for row in rows for name in row if name != "state"))
  headers += ["state"] if any(row["state"] for row in rows) else []
  widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in headers}
  lines = []
  for row in [{name: name for name in headers}, *rows]:
    cells = [
      row.get(name, "").ljust(widths[name])
      if name in ("run", "state")
      else row.get(name, "").rjust(widths[name])
      for name in headers
    ]
    lines.append("  ".join(cells).rstrip())
  return "\n".join(lines)
