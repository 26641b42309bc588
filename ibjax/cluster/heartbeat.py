"""A sign of life of every process, in the run's folder: step, rate, host.

`WORKDIR/heartbeats/process-00000.json` is written again every few seconds, in place and always as
many bytes: a file system that is full or out of quota still takes it, and other hosts see it by
opening the file (a file that is replaced may stay the old one in an NFS client's cache of names).
A reader may so meet half of a line; that is no news, never an error.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ibjax.cluster import presence

FOLDER = "heartbeats"
BYTES = 1024
SKEW_S = 5.0  # between clocks, that is worth a word
# What a process may say at its end; "aborted" is an end that another process may have caused.
FINAL = ("finished", "stopped", "failed", "aborted", "died")


def path_of(folder: pathlib.Path, process: int) -> pathlib.Path:
  """The file of one process.

  Args:
    folder: the "heartbeats" folder of a run.
    process: its number.

  Returns:
    FOLDER/process-NNNNN.json.
  """
  return folder / f"process-{process:05d}.json"


def log_of(folder: pathlib.Path, process: int) -> pathlib.Path:
  """Where a process other than the first prints.

  Args:
    folder: the "heartbeats" folder of a run.
    process: its number.

  Returns:
    FOLDER/process-NNNNN.log.
  """
  return path_of(folder, process).with_suffix(".log")


def write(path: pathlib.Path, beat: Mapping[str, Any]) -> None:
  """Writes a heartbeat in place.

  Args:
    path: the file; its folder must exist.
    beat: what it says; "why" is cut so that all fits `BYTES`.

  Raises:
    OSError: it cannot be written.
  """
  text = json.dumps(beat)
  if len(text.encode()) >= BYTES and "why" in beat:
    room = max(0, len(beat["why"]) - (len(text.encode()) - BYTES + 8))
    text = json.dumps({**beat, "why": beat["why"][:room] + "..."})
  file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
  try:
    os.pwrite(file, text.encode()[: BYTES - 1].ljust(BYTES - 1) + b"\n", 0)
  finally:
    os.close(file)


def read(path: pathlib.Path) -> dict[str, Any] | None:
  """Reads a heartbeat.

  Args:
    path: the file.

  Returns:
    What it says; None when it is not there, half written or of another kind.
  """
  try:
    beat = json.loads(path.read_bytes())
    return beat if isinstance(beat, dict) and "process" in beat and "state" in beat else None
  except (OSError, ValueError):
    return None


def read_all(folder: pathlib.Path) -> list[tuple[pathlib.Path, dict[str, Any] | None]]:
  """Reads the heartbeats of a run.

  Args:
    folder: its "heartbeats" folder.

  Returns:
    (file, what it says or None), by process.
  """
  return [(path, read(path)) for path in sorted(folder.glob("process-*.json"))]


def read_well(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Reads the heartbeats of a run that can be read.

  Args:
    workdir: its folder.

  Returns:
    What they say, by process.
  """
  return [beat for _, beat in read_all(workdir / FOLDER) if beat is not None]


class Heartbeat:
  """Says every few seconds that this process lives, from a thread of its own.

  A heartbeat that cannot be written is told once on stderr and tried again: the run goes on.

  Args:
    workdir: the run's folder.
    process: number of this process.
    of: how many there are.
    session: a text that all processes of one start share.
    period: seconds between two beats.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    process: int = 0,
    of: int = 1,
    *,
    session: str = "",
    period: float = 5.0,
  ):
    self.folder = workdir / FOLDER
    self._path, self._period = path_of(self.folder, process), period
    self._lock, self._over = threading.Lock(), threading.Event()
    self._complained = False
    self._beat: dict[str, Any] = {
      "process": process,
      "of": of,
      "session": session,
      "host": socket.gethostname(),
      "pid": os.getpid(),
      "job": presence.job(presence.slurm()),
      "state": "starting",
      "why": "",
      "step": 0,
      "total": 0,
      "steps_per_s": 0.0,
      "started": _now(),
      "time": _now(),
    }
    self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

  def __enter__(self) -> Heartbeat:
    self._put()
    self._thread.start()
    return self

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    if error is not None and self._beat["state"] not in FINAL:
      # An error that we explain is this process's own; any other may come from a lost neighbour.
      explained = any(base.__name__ == "IbjaxError" for base in type(error).__mro__)
      stopped = isinstance(error, KeyboardInterrupt)
      state = "stopped" if stopped else "failed" if explained else "aborted"
      self.end(state, f"{type(error).__name__}: {error}".splitlines()[0])
    self._over.set()
    self._thread.join()

  def pulse(self, step: int, total: int, steps_per_s: float) -> None:
    """Notes how far the run is; costs no write.

    Args:
      step: updates done.
      total: updates of the run.
      steps_per_s: the rate.
    """
    with self._lock:
      self._beat |= {"state": "training", "step": step, "total": total}
      self._beat["steps_per_s"] = round(steps_per_s, 3)

  def end(self, state: str, why: str = "") -> None:
    """Writes the last state.

    Args:
      state: one of `FINAL`.
      why: a line about it.
    """
    with self._lock:
      self._beat |= {"state": state, "why": why}
    self._over.set()
    self._put()

  def _run(self) -> None:
    while not self._over.wait(self._period):
      self._put()

  def _put(self) -> None:
    with self._lock:
      self._beat["time"] = _now()
      try:
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self._path, self._beat)
      except OSError as error:
        if not self._complained:
          self._complained = True
          print(
            f"warning: the heartbeat {self._path} cannot be written ({error.strerror or error}); "
            "the run goes on, but its other processes may take this one for lost.",
            file=sys.stderr,
            flush=True,
          )


# In the environment of a process that has a supervisor: the file descriptor to tell it by.
SUPERVISED = "IBJAX_SUPERVISED"


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
