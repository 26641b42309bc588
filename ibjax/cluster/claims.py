"""Claims on units of work in a shared folder: one holder at a time, taken over when it is gone.

A process writes one file of its own, `holder-<id>`, which says who it is, and claims a unit by
giving that file a second name, `<unit>.<generation>`, with `link(2)`. On NFS that is the right way:
the server makes a name or refuses it, in one operation, so of two processes one gets it; the
contents are there before the name is, so that nobody reads half a claim; and a reply that was lost
is told by the file's identity (the name exists and is ours). `O_EXCL` is atomic too since NFSv3,
but its file is empty at first; `mkdir` is atomic and says nothing of its holder.

A holder is alive as long as its file's time keeps changing: a thread sets it, which needs no space
on the disk. A reader judges by its own monotonic clock how long ago it last saw a change, and never
compares clocks of two machines. A holder on the reader's own machine whose process has ended is
gone at once.

Taking over is making the name of the next generation: of several takers one succeeds. So is
confirming, which a holder does before it records anything; the highest generation holds. Releasing
renames the claim to `<unit>.<generation>.free`. No name of a highest generation is ever removed, so
a process that was asleep for any time cannot take a claim that it judged in another state.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import random
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ibjax.cluster import presence, shared
from ibjax.cluster.presence import describe
from ibjax.cluster.sightings import Sightings
from ibjax.cluster.watch import EXIT_STOPPED
from ibjax.core.errors import WorkdirError

FOLDER = ".claims"
LOST_AFTER_S = 120.0
_BEATS = 8  # in the time after which a holder counts as gone
_POLL_S = 0.02, 1.0  # the shortest and longest wait for a lock that another process holds
_CLAIM = re.compile(r"(?P<unit>.+)\.(?P<generation>\d{6,})(?P<free>\.free)?")


class Lost(Exception):
  """Another process has taken a claim over, because this one was not seen for too long."""


def leave(unit: str, holder: Mapping[str, Any]) -> None:
  """Ends this process at once, without a word to any file: what a lost claim asks for.

  Args:
    unit: whose claim was lost.
    holder: who has it now, as far as its claim can be read.
  """
  sys.stderr.write(
    f"the claim on {unit} was taken over by {describe(holder)}, as this process was not seen for "
    "too long (suspended, or cut off from the folder?). It ends here and records nothing; the same "
    "command continues.\n"
  )
  sys.stderr.flush()
  os._exit(EXIT_STOPPED)


def unit_name(text: str) -> str:
  """A unit's name as a file name that every file system takes, different for different texts.

  Args:
    text: any text, e.g. "vib/beta=0.1 seed=0".

  Returns:
    The text without what a file name should not hold, and a checksum of it.
  """
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  return re.sub(r"[^\w.+=-]", "_", text, flags=re.ASCII)[:80] + f"-{digest}"


class Claims:
  """The claims of one process in one folder; a context, at whose end all are released.

  Args:
    folder: where claims are kept; made when absent. All its names lie in it, side by side.
    lost_after: seconds without a sign of a holder after which its claims may be taken over.
    on_loss: called, from another thread, with a unit whose claim was taken over, and its holder.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    *,
    lost_after: float = LOST_AFTER_S,
    on_loss: Callable[[str, Mapping[str, Any]], None] = leave,
  ):
    self._folder, self._lost_after, self._on_loss = folder, lost_after, on_loss
    self._beat_s = lost_after / _BEATS
    self._own = folder / f"holder-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    self._held: dict[str, int] = {}
    self._sightings = Sightings(lost_after)
    self._mutex = threading.RLock()
    self._ended = threading.Event()
    self._thread: threading.Thread | None = None

  def __enter__(self) -> Claims:
    about = {
      **presence.about(),
      "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      "beat_s": self._beat_s,
    }
    with shared.doing(f"cannot make a claim in {self._folder}"):
      self._folder.mkdir(parents=True, exist_ok=True)
      shared.create(self._own, json.dumps(about).encode())
      self._clear()
    self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *exc: object) -> None:
    self._ended.set()
    assert self._thread is not None
    if self._thread is not threading.current_thread():
      self._thread.join()
    with self._mutex:
      self.release(list(self._held))
      with contextlib.suppress(OSError):
        self._own.unlink(missing_ok=True)

  def take(self, units: Iterable[str]) -> bool:
    """Claims units, all of them or none; does not wait.

    Args:
      units: file names, see `unit_name`.

    Returns:
      Whether they are this process's now. False when another process holds one of them.

    Raises:
      WorkdirError: the folder cannot be written (a full disk, say), or has no hard links.
    """
    taken: list[str] = []
    with self._mutex, shared.doing(f"cannot make a claim in {self._folder}"):
      tops = self._tops()
      # In one order, so that two takers do not keep each other out.
      for unit in sorted(set(units) - set(self._held)):
        generation, free = tops.get(unit, (0, True))
        if not (
          free or self._sightings.gone(unit, generation, self._name(unit, generation))
        ) or not self._next(unit, generation):
          self.release(taken)
          return False
        taken.append(unit)
      if self._settle(set(taken)):
        self.release(taken)
        return False
    return True

  def confirm(self) -> None:
    """Raises unless every claim of this process is still its own, by the word of the file server.

    Raises:
      Lost: one was taken over; nothing may be recorded.
      WorkdirError: the folder cannot be written.
    """
    with self._mutex, shared.doing(f"cannot confirm the claims in {self._folder}"):
      lost = [unit for unit, own in self._held.items() if not self._next(unit, own)]
      lost += self._settle({unit for unit in self._held if unit not in lost})
      for unit in lost:
        self._held.pop(unit, None)
        self._on_loss(unit, self.holder(unit))
      if lost:
        holder = describe(self.holder(lost[0]))
        raise Lost(f"the claim on {lost[0]} was taken over by {holder}")

  def release(self, units: Iterable[str]) -> None:
    """Gives claims up, at once free for others.

    Args:
      units: names; those not held are left alone.
    """
    with self._mutex:
      for unit in units:
        generation = self._held.pop(unit, None)
        if generation is not None:
          with contextlib.suppress(OSError):  # a claim that stays is one whose holder is gone
            self._name(unit, generation).rename(self._name(unit, generation, free=True))

  def holder(self, unit: str) -> dict[str, Any]:
    """Tells who holds a unit.

    Args:
      unit: a name.

    Returns:
      What its holder said of itself; {} when nobody holds it, or its claim cannot be read.
    """
    with self._mutex, contextlib.suppress(OSError):
      generation, free = self._tops().get(unit, (0, True))
      if not free:
        return self._sightings.about(unit, generation, self._name(unit, generation))
    return {}

  def alive(self, unit: str) -> bool:
    """Whether a sign of the unit's holder was seen while this process looked.

    Args:
      unit: a name that `take` was tried with before, more than once.

    Returns:
      False as long as nothing of its holder has changed.
    """
    return self._sightings.changed(unit)

  def _name(self, unit: str, generation: int, free: bool = False) -> pathlib.Path:
    return self._folder / f"{unit}.{generation:06d}{'.free' if free else ''}"

  def _clear(self) -> None:
    """Removes the files of processes of this machine that were killed; their claims stay theirs."""
    for path in self._folder.glob("holder-*"):
      with contextlib.suppress(OSError, ValueError):
        about = json.loads(path.read_bytes())
        if isinstance(about, dict) and presence.ended(about):
          path.unlink()

  def _listing(self) -> Iterator[tuple[str, int, bool]]:
    for name in os.listdir(self._folder):
      if match := _CLAIM.fullmatch(name):
        yield match["unit"], int(match["generation"]), match["free"] is not None

  def _tops(self) -> dict[str, tuple[int, bool]]:
    """Unit -> (highest generation, whether it is free)."""
    tops: dict[str, tuple[int, bool]] = {}
    for unit, generation, free in self._listing():
      tops[unit] = max(tops.get(unit, (0, False)), (generation, free))
    return tops

  def _next(self, unit: str, generation: int) -> bool:
    """Makes the generation after this one."""
    if not shared.link(self._own, self._name(unit, generation + 1)):
      return False
    self._held[unit] = generation + 1
    return True

  def _settle(self, units: Collection[str]) -> list[str]:
    """Removes what the new claims on units follow; returns units that have a later claim.

    The listing before them may have been an old one, of generations that were removed since.
    """
    late, below = set(), []
    for unit, generation, free in self._listing():
      if unit in units:
        if generation > self._held[unit]:
          late.add(unit)
        elif generation < self._held[unit]:
          below.append(self._name(unit, generation, free))
    for unit in late:
      below.append(self._name(unit, self._held.pop(unit)))
    for name in below:
      with contextlib.suppress(OSError):  # it counts no more, there or not
        name.unlink(missing_ok=True)
    return sorted(late)

  def _beat(self) -> None:
    while not self._ended.wait(self._beat_s):
      # In one hold of the mutex: between the two, `confirm` would find nothing left to confirm.
      with self._mutex:
        for unit in self._lost():
          self._held.pop(unit, None)
          self._on_loss(unit, self.holder(unit))

  def _lost(self) -> list[str]:
    """Gives a sign of life unless claims were taken over; returns those."""
    with self._mutex:
      try:
        tops = self._tops()
        lost = [unit for unit, own in self._held.items() if tops.get(unit, (0, False))[0] > own]
        if not lost:
          os.utime(self._own)
        return lost
      except FileNotFoundError:  # somebody removed the claims: nothing keeps others out any more
        return list(self._held)
      except OSError:  # the file server is away: tried again; silence is what others judge by
        return []


@contextlib.contextmanager
def lock(
  folder: pathlib.Path, unit: str, *, lost_after: float = 60.0, give_up: float = 600.0
) -> Iterator[None]:
  """Holds a claim for a moment, waiting for it: for what one process may do at a time.

  Args:
    folder: where claims are kept.
    unit: a name.
    lost_after: seconds without a sign of its holder after which it is taken over.
    give_up: seconds to wait at most.

  Returns:
    A context.

  Raises:
    WorkdirError: the folder cannot be written, or the claim did not become free; names its holder.
  """
  with Claims(folder, lost_after=lost_after) as claims:
    began, wait = time.monotonic(), _POLL_S[0]
    while not claims.take([unit]):
      if time.monotonic() - began > give_up:
        raise WorkdirError(
          f"{describe(claims.holder(unit))} has held {folder / unit} for {give_up:.0f} s and more. "
          "Wait for it or end it, and run the same command again; nothing was changed."
        )
      time.sleep(wait * random.uniform(0.5, 1.5))
      wait = min(2 * wait, _POLL_S[1])
    yield
