"""Reading a run folder: the manifest, the metric lines, the final result, the arrays."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core.errors import WorkdirError


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run folder says.

  Attributes:
    path: the folder.
    manifest: what the run was made from: resolved config, commit, versions, devices, data.
    result: the final row as flat names; empty while the run is unfinished.
    lines: the metric lines in the order written: `{"step": ..., "split": ..., name: value}`.
  """

  path: pathlib.Path
  manifest: Mapping[str, Any]
  result: Mapping[str, Any]
  lines: tuple[Mapping[str, Any], ...]

  @property
  def finished(self) -> bool:
    """True once the final result has been written."""
    return bool(self.result)

  @property
  def config(self) -> Mapping[str, Any]:
    """The resolved config; empty if the manifest holds none."""
    config = self.manifest.get("config")
    return config if isinstance(config, Mapping) else {}

  @property
  def step(self) -> int:
    """The final step, or the last step recorded so far; 0 before the first."""
    last = max((int(line["step"]) for line in self.lines), default=0)
    return int(self.result.get("step", last))

  @property
  def values(self) -> dict[str, Any]:
    """The final row, or the last value of every metric so far under the same names."""
    if self.finished:
      return dict(self.result)
    values: dict[str, Any] = {"step": self.step} if self.lines else {}
    for line in self.lines:
      names = line.keys() - {"step", "split"}
      values.update({f"{line['split']}/{name}": line[name] for name in sorted(names)})
    return values

  def names(self, split: str) -> list[str]:
    """Names of the metrics recorded for a split.

    Args:
      split: "train", "validation" or "test".

    Returns:
      Names in the order in which they first appear.
    """
    seen = {name: None for line in self.lines if line["split"] == split for name in line}
    return [name for name in seen if name not in ("step", "split")]

  def curve(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One metric over training.

    A step that was written twice (a run killed and resumed) counts once, as last written.

    Args:
      split: "train", "validation" or "test".
      name: name of the metric, for example "rate_nats".

    Returns:
      (steps [n] int64 rising, values [n] float64); both empty when nothing was recorded.

    Example:
      >>> import pathlib
      >>> from ibjax.report.runs import Run
      >>> lines = ({"step": 1, "split": "test", "err_frac": 0.5},)
      >>> steps, values = Run(pathlib.Path("."), {}, {}, lines).curve("test", "err_frac")
      >>> steps.tolist(), values.tolist()
      ([1], [0.5])
    """
    points = {
      int(line["step"]): float(line[name])
      for line in self.lines
      if line["split"] == split and is_number(line.get(name))
    }
    steps = sorted(points)
    return np.array(steps, np.int64), np.array([points[step] for step in steps], np.float64)


def is_number(value: Any) -> bool:
  """True for an int or float (NaN and infinity included), False for text, None and bool.

  Args:
    value: anything read from JSON.

  Returns:
    A bool.
  """
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_run(workdir: str | os.PathLike) -> Run:
  """Reads a run folder.

  Args:
    workdir: the folder that a training run wrote.

  Returns:
    The run. An unfinished one has an empty result, and perhaps no lines.

  Raises:
    WorkdirError: the folder is missing, is not a run folder, or its JSON is damaged.
  """
  path = pathlib.Path(workdir)
  if not path.is_dir():
    what = "is a file" if path.exists() else "does not exist"
    raise WorkdirError(f"'{path}' {what}. Expected the folder that a training run wrote.")
  if not (path / "manifest.json").is_file():
    inside = sorted(child.parent.name for child in path.glob("*/manifest.json"))
    found = ", ".join(sorted(child.name for child in path.iterdir())[:8]) or "nothing"
    hint = f" Did you mean '{path / inside[0]}'?" if inside else ""
    raise WorkdirError(
      f"'{path}' is not a run folder: it holds no manifest.json (found: {found}).{hint}"
    )
  result = path / "result.json"
  return Run(
    path=path,
    manifest=_read_json(path / "manifest.json"),
    result=_read_json(result) if result.is_file() else {},
    lines=_read_lines(path / "metrics.jsonl"),
  )


def read_arrays(run: Run, name: str) -> dict[str, np.ndarray]:
  """Reads one of the run's `.npz` files.

  Args:
    run: the run.
    name: file name, for example "predictions.npz".

  Returns:
    Arrays by name; empty when the file is missing, or damaged (then with a warning).
  """
  file = run.path / name
  if not file.is_file():
    return {}
  try:
    # No pickles: a report must be safe to make from a folder that somebody else sent.
    with np.load(file, allow_pickle=False) as arrays:
      return {key: arrays[key] for key in arrays.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    warnings.warn(f"'{file}' cannot be read and is left out: {error}", stacklevel=2)
    return {}


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(path.read_bytes())
  except ValueError as error:
    raise WorkdirError(f"'{path}' is damaged: {error}. Train again, or restore it.") from error
  if not isinstance(content, dict):
    raise WorkdirError(f"'{path}' holds a {type(content).__name__}, expected an object.")
  return content


def _read_lines(path: pathlib.Path) -> tuple[dict[str, Any], ...]:
  if not path.is_file():
    return ()
  texts = path.read_bytes().splitlines()
  lines = []
  for number, text in enumerate(texts, start=1):
    try:
      line = json.loads(text)
      # Touches both keys: a line without them is as unusable as one that does not parse.
      lines.append({**line, "step": int(line["step"]), "split": str(line["split"])})
    except (ValueError, KeyError, TypeError, OverflowError):
      # A killed run leaves half a line at the end; that is no news. Anywhere else it is.
      if number < len(texts) and text.strip():
        warnings.warn(f"'{path}' line {number} is damaged and left out.", stacklevel=3)
  return tuple(lines)
