"""The run that validation data choose among several, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ibjax.report.runs import is_number

Rows = Sequence[Mapping[str, Any]]


def least(rows: Rows, by: str) -> list[Mapping[str, Any]]:
  """Returns each seed's row with the least value of a metric; of equals, the first.

  Args:
    rows: result rows of a method's runs, several a seed; each with "seed".
    by: the metric, e.g. "validation/mse"; rows without a finite one are left out.

  Returns:
    A row a seed, in the order in which the seeds come.

  Example:
    >>> from ibjax.report.selection import least
    >>> rows = [{"seed": 0, "v": 2.0, "beta": 1}, {"seed": 0, "v": 1.0, "beta": 2}]
    >>> least(rows, "v")[0]["beta"]
    2
  """
  found: dict[int, Mapping[str, Any]] = {}
  for row in rows:
    if not is_number(row.get(by)) or not math.isfinite(row[by]):
      continue
    if row["seed"] not in found or row[by] < found[row["seed"]][by]:
      found[row["seed"]] = row
  return list(found.values())
