"""The plan of a sweep, `sweep.json`: what was asked for, and the points with their folders."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ibjax.core import files
from ibjax.core.config import difference
from ibjax.core.errors import ConfigError, WorkdirError

LONGEST_NAME = 120  # of a folder; file systems take 255 bytes


@dataclasses.dataclass(frozen=True)
class Point:
  """One run of a sweep.

  Attributes:
    folder: the name of its folder in the sweep's.
    values: {config key: value} of the axes.
  """

  folder: str
  values: Mapping[str, Any]

  def overrides(self) -> list[str]:
    """The flags that make it. Returns: ["--config.seed=1", ...]; a None leaves the default."""
    flags = []
    for key, value in self.values.items():
      if value is not None:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        flags.append(f"--config.{key}={text}")
    return flags


def name_points(points: Sequence[Mapping[str, Any]]) -> list[Point]:
  """Gives each point its folder: "<index>-<key=value,...>".

  Args:
    points: {config key: value} each.

  Returns:
    The points. A key is shortened to its last part where that is unique.

  Example:
    >>> from ibjax.train.plan import name_points
    >>> [point.folder for point in name_points([{"encoder.hidden": (64, 64), "seed": 0}])]
    ['0-hidden=64x64,seed=0']
  """
  digits = len(str(len(points) - 1))
  named = []
  for index, values in enumerate(points):
    last = [key.rpartition(".")[2] for key in values]
    shown = [
      f"{short if last.count(short) == 1 else key}={_short(value)}"
      for short, (key, value) in zip(last, values.items())
    ]
    named.append(Point(f"{index:0{digits}}-{','.join(shown)}"[:LONGEST_NAME], values))
  return named


def _short(value: Any) -> str:
  if isinstance(value, tuple):
    return "x".join(map(_short, value)) or "none"
  text = f"{value:.4g}" if isinstance(value, float) else str(value)
  return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII)


def read_or_make(
  workdir: pathlib.Path, request: Mapping[str, Any], points: Sequence[Point]
) -> list[Point]:
  """Returns the points of the folder's sweep, or these ones when it holds none yet.

  Args:
    workdir: the sweep's folder.
    request: what was asked for; must equal that of the folder's sweep.
    points: the points that follow from the request.

  Returns:
    The points on record, so that a sweep continues as it began.

  Raises:
    ConfigError: the folder holds another sweep; shows the difference.
    WorkdirError: it holds a run, or a damaged sweep.json.
  """
  path = workdir / "sweep.json"
  if (workdir / "manifest.json").exists():
    raise WorkdirError(f"--workdir={workdir} holds a run; give a sweep a folder of its own.")
  if not path.exists():
    return list(points)
  try:
    plan = json.loads(path.read_text(encoding="utf-8"))
    old = plan["request"]
    found = [
      Point(point["folder"], {key: _tuples(value) for key, value in point["values"].items()})
      for point in plan["points"]
    ]
    changes = difference(old, json.loads(json.dumps(request)))
  except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
    raise WorkdirError(
      f"{path} is damaged ({type(error).__name__}: {error}); restore it, or choose another folder."
    ) from error
  if changes:
    shown = "\n  ".join(changes)
    raise ConfigError(
      f"{workdir} holds another sweep:\n  {shown}\nChoose another --workdir, or undo the change."
    )
  return found


def _tuples(value: Any) -> Any:
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def write(
  workdir: pathlib.Path,
  request: Mapping[str, Any],
  points: Sequence[Point],
  about: Mapping[str, Any],
) -> None:
  """Writes `sweep.json`.

  Args:
    workdir: the sweep's folder.
    request: what a sweep must ask for to continue this one.
    points: its points.
    about: further entries, for people.

  Raises:
    WorkdirError: it cannot be written.
  """
  listed = [{"folder": point.folder, "values": dict(point.values)} for point in points]
  files.write_json(workdir / "sweep.json", {**about, "request": request, "points": listed})


def finished(folder: pathlib.Path, config_hash: str) -> bool:
  """Whether a folder holds the result of a config.

  Args:
    folder: a run's folder; it need not exist.
    config_hash: the config's hash.

  Returns:
    True when result.json is there and says this hash.
  """
  try:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result["config_hash"] == config_hash
  except (OSError, ValueError, KeyError, TypeError):
    return False  # the run says what is wrong when it is started
