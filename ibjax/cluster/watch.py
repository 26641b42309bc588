"""Watches the heartbeats of the other processes of a run, and says which one is missing.

Life is judged by this process's own monotonic clock since a heartbeat last changed: clocks of
hosts are never compared.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

from ibjax.cluster import heartbeat

# sysexits.h EX_TEMPFAIL: stopped early, all is saved, the same command continues.
EXIT_STOPPED = 75
EXIT_BAD_INPUT = 2
GRACE_S = 10.0  # for this process to end by itself when another ended with an explanation


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Why this process must stop.

  Attributes:
    process: the process that is missing.
    text: says so.
    code: the exit code that is right for those left.
    collateral: whether that process itself may have ended because of another.
  """

  process: int
  text: str
  code: int = EXIT_STOPPED
  collateral: bool = False


class Watch:
  """Looks at the other processes' heartbeats.

  Args:
    folder: the run's "heartbeats" folder.
    process: number of this process.
    of: how many there are.
    session: the session they share; heartbeats of another are of an earlier start.
    lost_after: seconds without a change after which a process is lost.
    now: the clock, monotonic, in seconds.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    process: int,
    of: int,
    session: str,
    lost_after: float,
    now: Callable[[], float] = time.monotonic,
  ):
    self._folder, self._session, self._lost_after, self._now = folder, session, lost_after, now
    self._others = [other for other in range(of) if other != process]
    self._process = process
    began = now()
    self._last: dict[int, dict[str, Any]] = {}
    self._since = dict.fromkeys(self._others, began)
    self._looked = began

  def look(self) -> Verdict | None:
    """Looks once.

    Returns:
      The first process that is missing, or None while all live or have ended well.
    """
    now = self._now()
    if now - self._looked > self._lost_after / 2:
      # This process was away itself (a suspended job, say), perhaps with all others.
      self._since = dict.fromkeys(self._others, now)
    self._looked = now
    for other in self._others:
      beat = heartbeat.read(heartbeat.path_of(self._folder, other))
      if beat is not None and beat.get("session") == self._session:
        if beat != self._last.get(other):
          self._last[other], self._since[other] = beat, now
    found = [verdict for other in self._others if (verdict := self._judge(other, now))]
    # A process that died tells more than one that ended because of it.
    return min(found, key=lambda verdict: verdict.collateral, default=None)

  def speaks(self) -> bool:
    """Whether this process is the one to print: the first of those that are left.

    Returns:
      True for one process at a time, usually.
    """
    return not any(self._alive(other) for other in self._others if other < self._process)

  def all_over(self) -> bool:
    """Whether every other process has said its last word.

    Returns:
      True when nothing more can be learned from them.
    """
    return all(self._state(other) in heartbeat.FINAL for other in self._others)

  def _state(self, other: int) -> str:
    return self._last.get(other, {}).get("state", "")

  def _alive(self, other: int) -> bool:
    # One that ended because another is missing says so as well as we could.
    ended = self._state(other) in ("died", "failed", "finished")
    # Beats come at least every sixth of that time: one that is late may be lost with the others.
    return not ended and self._now() - self._since[other] <= self._lost_after / 2

  def _judge(self, other: int, now: float) -> Verdict | None:
    beat, silent = self._last.get(other, {}), now - self._since[other]
    state, why = beat.get("state", ""), beat.get("why", "")
    if state == "finished":
      return None
    if state == "died":
      return Verdict(other, f"{self._name(other)} is gone ({why})")
    if state == "failed":
      # Bad input, explained: usually the same in all, which then end by themselves.
      return (
        Verdict(other, f"{self._name(other)} failed: {why}", EXIT_BAD_INPUT)
        if silent > GRACE_S
        else None
      )
    if silent <= self._lost_after:
      return None
    if state in ("stopped", "aborted"):
      return Verdict(other, f"{self._name(other)} was ended ({state}: {why})", collateral=True)
    return Verdict(
      other,
      f"{self._name(other)} is lost: no sign of life for {silent:.0f} s (--lost_after="
      f"{self._lost_after:g})",
    )

  def _name(self, other: int) -> str:
    beat = self._last.get(other)
    if beat is None:
      return f"process {other}"
    host, pid = beat.get("host"), beat.get("pid")
    return f"process {other} of {beat.get('of')} (host {host}, pid {pid}, step {beat.get('step')})"
