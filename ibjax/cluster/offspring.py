"""Processes that do not outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # of Linux; found before a process is made


def ends_with_parent() -> None:
  """For `preexec_fn`: in the new process; it is killed when the one that started it ends.

  So what a killed parent had claimed or watched over is free, and nobody trains on unwatched. What
  a kill costs a run is the time since its last checkpoint. Elsewhere than on Linux, nothing.
  """
  if _PRCTL is not None:
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
