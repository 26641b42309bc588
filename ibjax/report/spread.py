"""The spread of a population, for a terminal: best, median and worst of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ibjax.report.row import MEASURED, number
from ibjax.report.runs import Run, is_number


def format_spread(runs: Sequence[Run]) -> str:
  """Says how the members of a population ended, in a few lines.

  Args:
    runs: the members, finished.

  Returns:
    A header, a line per metric with its lowest, median and highest value, and a line about the
    members that diverged, which are left out of the rest. No trailing newline.

  Example:
    >>> import pathlib
    >>> from ibjax.report.runs import Run
    >>> from ibjax.report.spread import format_spread
    >>> runs = [Run(pathlib.Path("."), {}, {"test/err_frac": e}, ()) for e in (0.01, 0.02, 0.04)]
    >>> print(format_spread(runs))
                lowest  median  highest   of 3 members
    test err %    1.00    2.00     4.00
  """
  good = [run for run in runs if "diverged_at_step" not in run.values]
  rows = [["", "lowest", "median", "highest"]]
  for header, key, write, _ in MEASURED:
    found = [float(run.values[key]) for run in good if is_number(run.values.get(key))]
    values = [value for value in found if np.isfinite(value)]
    if values and key != "step":
      spread = (min(values), float(np.median(values)), max(values))
      rows.append([header, *(write(value) for value in spread)])
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  lines = [
    "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
    for row in rows
  ]
  lines[0] += f"   of {len(good)} members"
  for run in runs:
    if run not in good:
      step = number(float(run.values["diverged_at_step"]))
      lines.append(f"diverged at step {step}: {run.path.name}")
  return "\n".join(lines)
