"""Metrics over training of many runs, thinned so that a page of hundreds stays small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ibjax.report.compare import Row
from ibjax.report.runs import is_number

# Numbers of all curves of a page together: about 8 bytes each.
BUDGET = 300_000
FEWEST, MOST = 20, 240


def thinned_curves(
  rows: Sequence[Row], groups: Sequence[int], budget: int = BUDGET
) -> dict[str, list[dict[str, Any]]]:
  """The curves of every metric, on common steps within a group so that seeds can be averaged.

  Args:
    rows: the runs.
    groups: the group of every row; its rows have one schedule.
    budget: how many numbers to keep, roughly; every curve keeps at least `FEWEST` if it has them.

  Returns:
    Metric name, e.g. "test/rate_nats" -> one entry a group that recorded it:
    {"group", "steps": [n], "runs": {row number: [n] values, None where it has none}}. First and
    last step are kept.
  """
  recorded = [_curves(row) for row in rows]
  count = max(1, sum(len(curves) for curves in recorded))
  points = min(MOST, max(FEWEST, budget // count))
  names = dict.fromkeys(name for curves in recorded for name in curves)
  members: dict[int, list[int]] = {}
  for number, group in enumerate(groups):
    members.setdefault(group, []).append(number)
  result = {}
  for name in names:
    entries = []
    for group, numbers in members.items():
      having = [number for number in numbers if name in recorded[number]]
      if not having:
        continue
      steps = sorted({step for number in having for step in recorded[number][name]})
      kept = np.unique(np.linspace(0, len(steps) - 1, points).round().astype(int))
      steps = [steps[index] for index in kept]
      values = {number: [recorded[number][name].get(step) for step in steps] for number in having}
      entries.append({"group": group, "steps": steps, "runs": values})
    result[name] = entries
  return result


def _curves(row: Row) -> dict[str, dict[int, float]]:
  """Metric -> step -> value, five digits; a step written twice counts as last written."""
  curves: dict[str, dict[int, float]] = {}
  for line in row.run.lines:
    for name, value in line.items():
      if name not in ("step", "split") and is_number(value) and math.isfinite(value):
        curves.setdefault(f"{line['split']}/{name}", {})[int(line["step"])] = float(f"{value:.5g}")
  return curves
