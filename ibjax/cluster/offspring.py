"""Processes that do not outlive the one that started them.

What a killed parent had claimed or watched over is free then, and nobody trains on unwatched. What
a kill costs a run is the time since its last checkpoint. The child sees to it itself: code between
fork and exec, as `preexec_fn` would run it, can hang in a parent that has threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

PARENT = "IBJAX_PARENT"
_PR_SET_PDEATHSIG = 1


def environment() -> dict[str, str]:
  """What the environment of a process that must not outlive this one has beside this one's.

  Returns:
    Variable -> value.
  """
  return {PARENT: str(os.getpid())}


def heed() -> None:
  """In the new process, first of all: it is killed when the one that started it ends.

  Elsewhere than on Linux, and where nobody asked for it, nothing.
  """
  parent = os.environ.pop(PARENT, "")
  prctl = getattr(ctypes.CDLL(None), "prctl", None) if parent.isdecimal() else None
  if prctl is None:
    return
  prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  with contextlib.suppress(PermissionError):
    try:
      os.kill(int(parent), 0)
    except ProcessLookupError:  # it ended before it could be watched
      os._exit(128 + signal.SIGKILL)
