"""Measuring an estimator: its estimates on tasks whose mutual information is known exactly."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core import rng
from ibjax.core.errors import ConfigError, InputError, unknown
from ibjax.core.resolver import bind
from ibjax.core.types import Measurement
from ibjax.data import synthetic
from ibjax.programs.hyper import section


def estimate(config: Mapping[str, Any]) -> Measurement:
  """Estimates the mutual information of every task of `config.data.tasks`, a part each.

  Formula: error = estimate - exact, in nats; the row holds over the tasks the mean of |error|
  (`mae_nats`), its largest value (`worst_nats`), the root of the mean square (`rmse_nats`), the
  mean error (`bias_nats`), the share of tasks whose exact value lies in the estimate's interval
  (`covered_frac`, where the estimator offers intervals), the mean time of an estimate by the clock
  (`estimate_s`) and of all threads of the processor (`cpu_s`), with compiling where a shape is new,
  and the number of tasks on which the estimator failed (`failed`), which are in no average. Per
  task it holds `nats/<task>`, `error_nats/<task>` and `covered/<task>`.

  The sample is the task's own for `config.seed`. With `config.data.rescale` every column is brought
  to zero mean and unit variance in float64 first, as in the benchmark of Czyz et al. 2023.

  Args:
    config: the resolved config, see `ibjax.core.config.measuring`.

  Returns:
    The measurement.

  Raises:
    ConfigError: no task of that name, an estimator of something else than I(X;Y) of real x and y,
      or a value that does not fit.
  """
  data = config["data"]
  estimator = bind(section(config, "estimator", {}))
  takes_real = all(kind.removesuffix("?") in ("real", "any") for kind in (estimator.x, estimator.y))
  if estimator.quantity != "mutual_information" or not takes_real:
    raise ConfigError(
      f"config.estimator: {estimator.name} estimates {estimator.quantity} of x {estimator.x}, y "
      f"{estimator.y}; these tasks ask for mutual_information of real x and y."
    )
  if data["n"] < max(2, estimator.min_n):
    raise ConfigError(
      f"config.data.n={data['n']} must be at least {max(2, estimator.min_n)} for {estimator.name}."
    )
  tasks = {name: synthetic.find(name) for name in _names(data["tasks"])}

  def measure(name: str) -> dict[str, Any]:
    task = tasks[name]
    x, y = task.draw(data["n"], config["seed"])
    if data["rescale"]:
      x, y = _rescaled(x), _rescaled(y)
    key = rng.stream(rng.root_key(config["seed"]), f"estimate {name}")
    before, spent = time.perf_counter(), time.process_time()
    try:
      found = estimator(x, y, key=key)
    except InputError as error:
      return {"failed": str(error)}
    times = {
      "estimate_s": time.perf_counter() - before,
      "cpu_s": time.process_time() - spent,
    }
    if not math.isfinite(found.nats):
      return {"failed": f"the estimate is {found.nats}", **times}
    values = {"nats": found.nats, "error_nats": found.nats - task.nats, **times}
    if math.isfinite(found.lower) and math.isfinite(found.upper):
      values["covered"] = float(found.lower <= task.nats <= found.upper)
    return values

  return Measurement(
    method=estimator.name,
    data={
      "name": data["tasks"],
      "fingerprint": _fingerprint({name: task.nats for name, task in tasks.items()}),
      "n": data["n"],
    },
    parts=tuple(tasks),
    measure=measure,
    summarize=summarize,
  )


def summarize(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
  """The row of an estimator over tasks.

  Args:
    parts: task -> {"nats", "error_nats", "estimate_s", "cpu_s", perhaps "covered"}, or
      {"failed": why}.

  Returns:
    Averages over the tasks and the values of each; see `estimate`. Errors are absent when the
    estimator failed on every task.

  Example:
    >>> from ibjax.programs.estimate import summarize
    >>> row = summarize({"a": {"error_nats": 0.1}, "b": {"error_nats": -0.3}, "c": {"failed": "-"}})
    >>> round(row["mae_nats"], 6), round(row["bias_nats"], 6), row["failed"]
    (0.2, -0.1, 1)
  """
  row: dict[str, float] = {"tasks": len(parts)}
  row["failed"] = sum("failed" in values for values in parts.values())
  of = lambda key: np.array([v[key] for v in parts.values() if key in v])  # noqa: E731
  errors, covered = of("error_nats"), of("covered")
  if len(errors):
    row["mae_nats"] = float(np.mean(np.abs(errors)))
    row["worst_nats"] = float(np.max(np.abs(errors)))
    row["rmse_nats"] = float(np.sqrt(np.mean(errors**2)))
    row["bias_nats"] = float(np.mean(errors))
  if len(covered):
    row["covered_frac"] = float(np.mean(covered))
  for key in ("estimate_s", "cpu_s"):
    if len(times := of(key)):
      row[key] = float(np.mean(times))
  for key in ("nats", "error_nats", "covered"):
    row |= {f"{key}/{name}": values[key] for name, values in parts.items() if key in values}
  return row


def _names(text: str) -> list[str]:
  """The tasks that "NAME[;NAME]" asks for; a name with * or ? is a pattern over the known ones."""
  found: list[str] = []
  for item in filter(None, (part.strip() for part in text.split(";"))):
    known = synthetic.names()
    some = fnmatch.filter(known, item) if set(item) & set("*?") else [item]
    if not some:
      raise ConfigError(unknown("tasks", item, known))
    found += some
  if not found:
    raise ConfigError("config.data.tasks is empty; name tasks, e.g. 'bmi:*' or 'gaussian:d=3'.")
  return list(dict.fromkeys(found))


def _rescaled(values: np.ndarray) -> np.ndarray:
  values = np.asarray(values, np.float64)
  return (values - values.mean(0)) / values.std(0)


def _fingerprint(truths: Mapping[str, float]) -> str:
  # Of names and exact values, not of samples: rounding differs between machines.
  text = json.dumps({name: f"{nats:.9g}" for name, nats in truths.items()}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
