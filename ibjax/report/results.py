"""The runs of an experiment as they are committed: `results.jsonl`, one line per finished run.

A line is a JSON object with the keys of `KEYS`: which run it was (cell, budget, seed), what it was
made from (the config and its hash, its file and overrides, the hash of the method's code, the
data's fingerprint, versions, commit, devices, the solo command that makes it again), and its row.
Runs only ever add lines; `scripts/carry.py` alone gives a line the hash of newer code that lowers
to the same program, and keeps the hashes it had under "carried". Where several lines are of one
run, the last one that fits counts; a line of another config, other code or other data is stale and
never enters a mean.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ibjax.core.config import changed
from ibjax.core.errors import ConfigError

SCHEMA = 1
KEYS = {
  "schema": int,
  "cell": str,
  "budget": str,
  "seed": int,
  "config_hash": str,
  "config": dict,
  "config_file": str,
  "overrides": list,
  "command": str,
  "code": str,
  "data": dict,
  "versions": dict,
  "commit": str,
  "finished": str,
  "devices": list,
  "result": dict,
}
DIVERGED = "diverged_at_step"


@dataclasses.dataclass(frozen=True)
class Planned:
  """A run that an experiment asks for.

  Attributes:
    cell: the cell's id.
    budget: the budget's name.
    seed: the seed.
    config: the resolved config.
    config_hash: its hash.
    config_file: as a command line names it.
    overrides: "config.key=value", the seed last.
    command: the solo command that makes it.
    code: hash of the code behind the config.
    fingerprint: of the data as they are now; None where they are not at hand.
    folder: where its run is kept.
  """

  cell: str
  budget: str
  seed: int
  config: Mapping[str, Any]
  config_hash: str
  config_file: str
  overrides: tuple[str, ...]
  command: str
  code: str
  fingerprint: str | None
  folder: pathlib.Path

  @property
  def name(self) -> str:
    """Which run it is, in words."""
    return f"{self.cell} seed={self.seed}"


@dataclasses.dataclass(frozen=True)
class Status:
  """Whether a run's result is there.

  Attributes:
    run: the run.
    line: the line that counts, or None.
    stale: why the last line of this run does not count; () when one counts or none is there.
  """

  run: Planned
  line: Mapping[str, Any] | None
  stale: tuple[str, ...] = ()

  @property
  def state(self) -> str:
    """One of "done", "diverged", "stale" and "missing"."""
    if self.line is None:
      return "stale" if self.stale else "missing"
    return "diverged" if DIVERGED in self.line["result"] else "done"


@dataclasses.dataclass(frozen=True)
class Results:
  """What a results file holds.

  Attributes:
    path: the file.
    lines: its lines, in order.
    torn: half a line at its end, left by an interrupted write; b"" when there is none.
  """

  path: pathlib.Path
  lines: tuple[Mapping[str, Any], ...]
  torn: bytes = b""


def read(path: pathlib.Path) -> Results:
  """Reads a results file; nothing is changed.

  Args:
    path: results.jsonl; it need not exist.

  Returns:
    Its lines, and what is torn off at its end.

  Raises:
    ConfigError: a line is damaged, lacks a key, or is of another version of this file.
  """
  content = path.read_bytes() if path.is_file() else b""
  texts = content.split(b"\n")
  lines: list[Mapping[str, Any]] = []
  for number, text in enumerate(texts, start=1):
    if not text.strip():
      continue
    try:
      line = json.loads(text)
    except ValueError:
      if number == len(texts):  # no newline after it: the write was cut off
        return Results(path, tuple(lines), text)
      raise ConfigError(
        f"{path}, line {number}, is not JSON; the file was damaged or edited. Restore it from the "
        "repository's history, or move that line to results.jsonl.damaged and run again."
      ) from None
    check_line(f"{path}, line {number}", line)
    lines.append(line)
  return Results(path, tuple(lines))


def check_line(where: str, line: Any) -> None:
  """Raises unless a line has every key of the file.

  Args:
    where: begins the message.
    line: what was read, or is to be written.

  Raises:
    ConfigError: a key is absent or of another type; it is of another version of the file.
  """
  if not isinstance(line, dict):
    raise ConfigError(f"{where}: found a {type(line).__name__}, expected an object.")
  if line.get("schema") != SCHEMA:
    raise ConfigError(
      f"{where}: its schema is {line.get('schema')!r}, and this version of ibjax reads {SCHEMA}. "
      "Use the version that wrote it, or move the file aside and run again; it was left as it is."
    )
  for key, kind in KEYS.items():
    if not isinstance(line.get(key), kind) or isinstance(line.get(key), bool):
      found = repr(line[key])[:60] if key in line else "nothing"
      raise ConfigError(f"{where}, key '{key}': found {found}, expected a {kind.__name__}.")
  if not isinstance(line["data"].get("fingerprint"), str):
    raise ConfigError(f"{where}, key 'data': it has no 'fingerprint'.")


def differences(line: Mapping[str, Any], run: Planned) -> tuple[str, ...]:
  """Why a line is not the result of a run as it would be made now.

  Args:
    line: a line of the file, or a run's manifest with the key "code".
    run: the run.

  Returns:
    Some of "config", "code" and "data"; () when it is that result. Data that are not at hand
    are not compared.
  """
  fingerprint = line["data"]["fingerprint"]
  found = {
    # The hash says "equal" at once; a config of before a key was added is compared key by key.
    "config": line["config_hash"] != run.config_hash and bool(changed(line["config"], run.config)),
    "code": line.get("code") != run.code,
    "data": run.fingerprint is not None and fingerprint != run.fingerprint,
  }
  return tuple(name for name, differs in found.items() if differs)


def statuses(lines: Sequence[Mapping[str, Any]], runs: Sequence[Planned]) -> list[Status]:
  """Finds each run's line.

  Args:
    lines: the lines of the file.
    runs: the runs asked for.

  Returns:
    A status per run, in their order.
  """
  by_run: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
  for line in lines:
    by_run.setdefault((line["cell"], line["budget"], line["seed"]), []).append(line)
  found = []
  for run in runs:
    own = by_run.get((run.cell, run.budget, run.seed), [])
    fitting = [line for line in own if not differences(line, run)]
    if fitting:
      found.append(Status(run, fitting[-1]))
    else:
      found.append(Status(run, None, differences(own[-1], run) if own else ()))
  return found


def orphans(lines: Sequence[Mapping[str, Any]], cells: Mapping[str, Any]) -> list[str]:
  """Cells that have lines but are no longer asked for.

  Args:
    lines: the lines of the file.
    cells: the experiment's cells by id.

  Returns:
    Their ids, in the order in which they appear.
  """
  return [cell for cell in dict.fromkeys(line["cell"] for line in lines) if cell not in cells]


def line_of(run: Planned, manifest: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
  """The line of a finished run.

  Args:
    run: the run.
    manifest: its manifest.json.
    row: its result.json.

  Returns:
    The line, without NaN or infinite numbers (JSON has none).
  """
  finite = {
    key: value
    for key, value in row.items()
    if not (isinstance(value, float) and value - value != 0)  # NaN and infinity
  }
  line = {
    "schema": SCHEMA,
    "cell": run.cell,
    "budget": run.budget,
    "seed": run.seed,
    "config_hash": manifest["config_hash"],
    "config": manifest["config"],
    "config_file": run.config_file,
    "overrides": list(run.overrides),
    "command": run.command,
    "code": run.code,
    "data": {key: manifest["data"].get(key) for key in ("name", "fingerprint")},
    "versions": dict(manifest.get("versions", {})),
    "commit": str(manifest.get("commit", "")),
    "finished": str(manifest.get("finished") or manifest.get("started", "")),
    "devices": list(manifest.get("devices", [])),
    "result": finite,
  }
  if isinstance(manifest.get("arrays"), Mapping):
    line["arrays"] = manifest["arrays"]
  return line
