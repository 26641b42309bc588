"""`ibjax status FOLDERS...`: how runs are doing, process by process, from their heartbeats."""

from __future__ import annotations

import datetime
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.cluster import heartbeat, slurm
from ibjax.core.errors import ClusterError, ConfigError, WorkdirError
from ibjax.train.progress import clock
from ibjax.verbs.flags import given, parse, wants_help

EXIT_TROUBLE = 1


def run(argv: Sequence[str]) -> int:
  """Shows how runs are doing; see `ibjax status --help`.

  Args:
    argv: the arguments after the verb: folders of runs, populations, sweeps or tables; flags.

  Returns:
    0; 1 when a process has failed or is silent.

  Raises:
    IbjaxError: a folder without any heartbeat.
  """
  values = flags.FlagValues()
  flags.DEFINE_float(
    "silent_after", 60.0, "Seconds without a heartbeat that are worth a word.", flag_values=values
  )
  if wants_help("status FOLDERS...", values, argv, config=False):
    return 0
  rest = parse(values, "status", argv)
  if not rest:
    raise ConfigError("`ibjax status` needs the folder of a run, as it was given to --workdir.")
  trouble = False
  for name in rest:
    for folder in find(pathlib.Path(name)):
      text, well = describe(folder, given(values)["silent_after"])
      print(text)
      trouble |= not well
  return EXIT_TROUBLE if trouble else 0


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """Finds the runs below a folder that have heartbeats.

  Args:
    folder: a run's folder, or one that holds runs.

  Returns:
    The folders of the runs, sorted.

  Raises:
    WorkdirError: no such folder, or no heartbeat in it.
  """
  if not folder.is_dir():
    raise WorkdirError(f"{folder} is no folder; give the folder of a run (its --workdir).")
  found = sorted(path.parent for path in folder.rglob(heartbeat.FOLDER) if path.is_dir())
  if not found:
    raise WorkdirError(
      f"{folder} has no {heartbeat.FOLDER}/: nothing was started there yet, or by an older version."
    )
  return found


def describe(workdir: pathlib.Path, silent_after: float) -> tuple[str, bool]:
  """Describes one run.

  Args:
    workdir: its folder.
    silent_after: seconds without a heartbeat that are worth a word.

  Returns:
    (text, whether all processes are well).
  """
  now = _clock_of(workdir / heartbeat.FOLDER)
  rows, notes, jobs = [], [], set()
  beats = heartbeat.read_all(workdir / heartbeat.FOLDER)
  # The start that wrote last, by the file system's clock: those of hosts may differ.
  written = {path.stat().st_mtime: beat for path, beat in beats if beat is not None}
  session = written[max(written)].get("session") if written else None
  own = [beat for _, beat in beats if beat is not None and beat.get("session") == session]
  well = True
  for path, beat in beats:
    if beat is None:
      notes.append(f"{path.name} is half written or damaged; a run that lives writes it again")
      continue
    if beat not in own:
      continue  # of an earlier start, with more processes
    age = now - path.stat().st_mtime
    state = str(beat["state"])
    if state in ("starting", "training") and age > silent_after:
      state, well = f"SILENT ({state})", False
    if state in ("failed", "died", "aborted"):
      well = False
    if beat.get("why"):
      notes.append(f"process {beat['process']}: {beat['why']}")
    if skew := _skew(path, beat):
      notes.append(f"the clock of {beat.get('host')} is {skew:+.0f} s off that of the file system")
    if beat.get("job"):
      jobs.add(str(beat["job"]))
    rows.append(_row(beat, state, age))
  heading = f"{workdir}: {_progress(own[0] if own else {})}"
  head = ("process", "host", "pid", "state", "step", "steps/s", "heartbeat")
  widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
  lines = [heading]
  for row in [head, *rows]:
    lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
  lines += [f"  note: {note}" for note in dict.fromkeys(notes)]
  lines += [f"  Slurm job {job}: {_slurm(job)}" for job in sorted(jobs | _launched(workdir))]
  return "\n".join(lines), well


def _row(beat: Mapping[str, Any], state: str, age: float) -> tuple[str, ...]:
  return (
    f"{beat['process']} of {beat.get('of', '?')}",
    str(beat.get("host", "?")),
    str(beat.get("pid", "?")),
    state,
    str(beat.get("step", "?")),
    f"{beat.get('steps_per_s', 0.0):.1f}",
    f"{max(0.0, age):.0f} s ago",
  )


def _progress(beat: Mapping[str, Any]) -> str:
  step, total = beat.get("step", 0), beat.get("total", 0)
  text = f"{beat.get('state', 'unknown')}"
  if total:
    text += f", step {step} of {total} ({100 * step / total:.0f} %)"
    rate = beat.get("steps_per_s", 0.0)
    if beat.get("state") == "training" and rate > 0:
      text += f", {clock((total - step) / rate)} left"
  return text


def _clock_of(folder: pathlib.Path) -> float:
  """The time of the file system, which may be another host's: ages are differences of it."""
  probe = folder / ".now"
  try:
    probe.write_text("")
    now = probe.stat().st_mtime
    probe.unlink()
    return now
  except OSError:
    return time.time()  # a folder that only others may write


def _skew(path: pathlib.Path, beat: Mapping[str, Any]) -> float:
  try:
    said = datetime.datetime.fromisoformat(str(beat["time"])).timestamp()
  except (KeyError, ValueError):
    return 0.0
  skew = said - path.stat().st_mtime
  return skew if abs(skew) > heartbeat.SKEW_S else 0.0


def _launched(workdir: pathlib.Path) -> set[str]:
  """The job that `ibjax launch` submitted for this folder; it may still wait in the queue."""
  try:
    launched = json.loads((workdir / "launch.json").read_text(encoding="utf-8"))
    return {str(launched["job_id"])} if launched.get("job_id") else set()
  except (OSError, ValueError, AttributeError):
    return set()


def _slurm(job: str) -> str:
  try:
    found = slurm.state(job)
  except ClusterError as error:
    return f"unknown; {error}"
  words = [str(found["state"])]
  for task in found["tasks"]:
    words += [f"on {task['nodes']}"] if task.get("nodes") else []
    words += [f"({task['reason']})"] if task.get("reason") not in (None, "", "None") else []
    words += [f"after {task['restarts']} restart(s)"] if task.get("restarts", "0") != "0" else []
    break
  return " ".join(words)
