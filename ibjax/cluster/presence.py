"""Which process this is, on which machine, and whether a process named so has ended."""

from __future__ import annotations

import functools
import os
import pathlib
import socket
from collections.abc import Mapping
from typing import Any

_SLURM = {
  "job": "SLURM_JOB_ID",
  "array_job": "SLURM_ARRAY_JOB_ID",
  "array_task": "SLURM_ARRAY_TASK_ID",
  "restart": "SLURM_RESTART_COUNT",
}


def about() -> dict[str, Any]:
  """Describes this process.

  Returns:
    {"host", "pid", "began", "boot", "pids", "slurm"}: "began" is when it began in ticks of its
    machine, "boot" which start of the machine, "pids" whose numbers of processes; each "" where
    the system does not tell.
  """
  _, began = _process(os.getpid())
  return {
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "began": began,
    "boot": _boot(),
    "pids": _pids(),
    "slurm": slurm(),
  }


def slurm() -> dict[str, str]:
  """What Slurm says of this process.

  Returns:
    Of "job", "array_job", "array_task" and "restart" those that there are; {} outside of a job.
  """
  return {key: os.environ[name] for key, name in _SLURM.items() if name in os.environ}


def job(found: Mapping[str, str]) -> str:
  """Names a Slurm job.

  Args:
    found: as `slurm` gave it.

  Returns:
    "1234", "1234_7" of an array; "" outside of a job.

  Example:
    >>> from ibjax.cluster.presence import job
    >>> job({"job": "14", "array_job": "12", "array_task": "3"}), job({"job": "14"}), job({})
    ('12_3', '14', '')
  """
  if found.get("array_job"):
    return f"{found['array_job']}_{found.get('array_task', '?')}"
  return found.get("job", "")


def describe(other: Mapping[str, Any]) -> str:
  """Names a process.

  Args:
    other: as `about` gave it in that process; {} where it is not known.

  Returns:
    Text such as "process 4711 on node7 (Slurm job 12_3)".

  Example:
    >>> from ibjax.cluster.presence import describe
    >>> describe({"host": "node7", "pid": 4711, "slurm": {"array_job": "12", "array_task": "3"}})
    'process 4711 on node7 (Slurm job 12_3)'
  """
  if not other:
    return "a process that did not say who it is"
  name = job(other.get("slurm") or {})
  return f"process {other.get('pid')} on {other.get('host')}" + (
    f" (Slurm job {name})" if name else ""
  )


def ended(other: Mapping[str, Any]) -> bool:
  """Whether a process has certainly ended: it was one of this machine, and is no more.

  Args:
    other: as `about` gave it in that process; what it lacks makes nothing certain.

  Returns:
    False for processes of other machines, or of a container whose processes are not seen here.
  """
  here = other.get("boot") == _boot() != "" and other.get("pids") == _pids() != ""
  if not here or not isinstance(other.get("pid"), int) or not other.get("began"):
    return False
  state, began = _process(other["pid"])
  if not state:
    return not _exists(other["pid"])
  return began != other["began"] or state in ("Z", "X")


def _exists(pid: int) -> bool:
  """Whether there is such a process; those of other users may be hidden from /proc."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  except OSError:
    return True
  return True


def _process(pid: int) -> tuple[str, str]:
  """The state of a process of this machine, and when it began; "" where there is none."""
  try:
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
  except OSError:
    return "", ""
  fields = text.rpartition(")")[2].split()  # the name, in parentheses, may hold anything
  return fields[0], fields[19]


@functools.cache
def _boot() -> str:
  try:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
  except OSError:
    return ""


@functools.cache
def _pids() -> str:
  try:
    return os.readlink("/proc/self/ns/pid")
  except OSError:
    return ""
