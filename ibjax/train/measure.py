"""Runs that measure: part after part, each kept as it comes, and the row at the end.

A measuring run's folder is a training run's without what training leaves: manifest.json,
`measurements.jsonl` with one line per part, result.json and the page. A run that was killed goes on
with the parts that have no line yet.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core import files
from ibjax.core.config import config_hash
from ibjax.core.errors import WorkdirError
from ibjax.core.resolver import resolve
from ibjax.core.types import Measurement
from ibjax.train import outcome, records
from ibjax.train.loop import Stopped, StopSignal
from ibjax.train.progress import Progress

LINES = "measurements.jsonl"


def build(config: Mapping[str, Any]) -> Measurement:
  """Builds what a measuring config asks for; nothing is measured yet.

  Args:
    config: the resolved config of a program that measures.

  Returns:
    The measurement.

  Raises:
    ConfigError: a value that does not fit; every check that can be made before measuring is.
  """
  return resolve(config["program"])(config)


def run(config: Mapping[str, Any], workdir: pathlib.Path, about: Mapping[str, Any]) -> None:
  """Measures a run to its end, or goes on with one; a finished one is left as it is.

  Args:
    config: the resolved config.
    workdir: the run's folder; what it may hold is a run of this config.
    about: {"config_file", "overrides", "command"}, for the manifest.

  Raises:
    ConfigError: a value that does not fit, or tasks that changed since the run began.
    Stopped: SIGTERM or Ctrl-C; the parts measured are kept, and the same call goes on.
  """
  measurement = build(config)
  records.prepare_workdir(workdir)
  old = records.read_manifest(workdir)
  manifest = outcome.manifest_of(measurement.data, config, about, old, records.session())
  if old is not None and old["code"] == manifest["code"] and old["config"] == config:
    if (workdir / "result.json").exists():
      return
  elif (workdir / LINES).exists():  # parts of one row are of one code
    (workdir / LINES).unlink()
  files.write_json(workdir / "manifest.json", manifest)
  (workdir / "result.json").unlink(missing_ok=True)
  done = _measure(measurement, workdir / LINES)
  row = {
    "estimator": measurement.method,
    "data": measurement.data["name"],
    "config_hash": config_hash(config),
    "seed": config["seed"],
    **{key: value for key, value in measurement.summarize(done).items() if np.isfinite(value)},
  }
  files.write_json(workdir / "result.json", row)


def describe(config: Mapping[str, Any]) -> str:
  """Describes what would be measured, as text.

  Args:
    config: the resolved config.

  Returns:
    The method, the data, and the names of the parts.
  """
  measurement = build(config)
  lines = [f"measures   {measurement.method} on {measurement.data['name']}"]
  lines += [f"settings   {json.dumps({k: v for k, v in config.items() if k != 'program'})}"]
  return "\n".join([*lines, f"parts      {len(measurement.parts)}:", *measurement.parts])


def _measure(measurement: Measurement, path: pathlib.Path) -> dict[str, dict[str, Any]]:
  done = {part: line for part, line in _read(path).items() if part in measurement.parts}
  progress = Progress(len(measurement.parts), True)
  if done:
    progress.say(f"continuing after {len(done)} of {len(measurement.parts)} parts")
  files.write_text(path, "".join(_line(part, values) for part, values in done.items()))
  with open(path, "a", encoding="utf-8") as file, StopSignal() as stop:
    for part in measurement.parts:
      if part in done:
        continue
      if stop.seen():
        progress.say(f"{stop.name}: {len(done)} of {len(measurement.parts)} parts are kept")
        raise Stopped()
      found = measurement.measure(part)
      try:
        file.write(_line(part, found))
        file.flush()
        os.fsync(file.fileno())
      except OSError as error:
        raise WorkdirError(f"cannot write {path}: {error.strerror or error}.") from error
      done[part] = found
      progress.say(f"{len(done)}/{len(measurement.parts)}  {part}  {_shown(found)}")
  return {part: done[part] for part in measurement.parts}


def _line(part: str, values: Mapping[str, Any]) -> str:
  finite = {k: v for k, v in values.items() if not isinstance(v, float) or np.isfinite(v)}
  return json.dumps({"part": part, **finite}) + "\n"


def _read(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  """The parts measured so far; a line cut off by a kill is measured again."""
  found = {}
  texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
  for number, text in enumerate(texts, start=1):
    try:
      line = json.loads(text)
      found[line.pop("part")] = line
    except (ValueError, KeyError, AttributeError):
      if number < len(texts):
        raise WorkdirError(
          f"{path}, line {number}, is damaged; delete that line, and its part is measured again."
        ) from None
  return found


def _shown(values: Mapping[str, Any]) -> str:
  return "  ".join(
    f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
    for key, value in values.items()
  )
