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
import dataclasses
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ibjax.cluster import presence, shared
from ibjax.cluster.presence import describe
from ibjax.core.errors import WorkdirError

FOLDER = ".claims"
LOST_AFTER_S = 120.0
EXIT_LOST = 75  # all that this process had saved is there; the same command continues
_BEATS = 8  # in the time after which a holder counts as gone
_POLL_S = 0.02, 1.0  # the shortest and longest wait for a lock that another process holds
_FEWEST_BEATS = 4  # that are waited for, where the holder gives its signs more seldom than we would
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
  os._exit(EXIT_LOST)


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
    self._seen: dict[str, _Watch] = {}
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
      for unit in sorted(set(units)):  # in one order, so that two takers do not keep each other out
        if not self._take(unit):
          self.release(taken)
          return False
        taken.append(unit)
    return True

  def confirm(self) -> None:
    """Raises unless every claim of this process is still its own, by the word of the file server.

    Raises:
      Lost: one was taken over; nothing may be recorded.
      WorkdirError: the folder cannot be written.
    """
    with self._mutex, shared.doing(f"cannot confirm the claims in {self._folder}"):
      for unit, generation in list(self._held.items()):
        if not self._advance(unit, generation):
          holder = self.holder(unit)
          self._held.pop(unit)
          self._on_loss(unit, holder)
          raise Lost(f"the claim on {unit} was taken over by {describe(holder)}")

  def release(self, units: Iterable[str]) -> None:
    """Gives claims up, at once free for others.

    Args:
      units: names; those not held are left alone.
    """
    with self._mutex:
      for unit in units:
        generation = self._held.pop(unit, None)
        if generation is not None:
          name = self._name(unit, generation)
          with contextlib.suppress(OSError):  # a claim that stays is one whose holder is gone
            name.rename(name.with_name(f"{name.name}.free"))

  def holder(self, unit: str) -> dict[str, Any]:
    """Tells who holds a unit.

    Args:
      unit: a name.

    Returns:
      What its holder said of itself; {} when nobody holds it, or its claim cannot be read.
    """
    with self._mutex, contextlib.suppress(OSError):
      generation, free = self._tops().get(unit, (0, True))
      watch = None if free else self._look(unit, generation)
      return {} if watch is None else dict(watch.about)
    return {}

  def alive(self, unit: str) -> bool:
    """Whether a sign of the unit's holder was seen while this process looked.

    Args:
      unit: a name that `take` was tried with before, more than once.

    Returns:
      False as long as nothing of its holder has changed.
    """
    watch = self._seen.get(unit)
    return watch is not None and watch.changed

  def _name(self, unit: str, generation: int) -> pathlib.Path:
    return self._folder / f"{unit}.{generation:06d}"

  def _tops(self) -> dict[str, tuple[int, bool]]:
    """Unit -> (highest generation, whether it is free)."""
    tops: dict[str, tuple[int, bool]] = {}
    for name in os.listdir(self._folder):
      if match := _CLAIM.fullmatch(name):
        found = int(match["generation"]), match["free"] is not None
        tops[match["unit"]] = max(tops.get(match["unit"], (0, False)), found)
    return tops

  def _take(self, unit: str) -> bool:
    if unit in self._held:
      return True
    generation, free = self._tops().get(unit, (0, True))
    return (free or self._gone(unit, generation)) and self._advance(unit, generation)

  def _advance(self, unit: str, generation: int) -> bool:
    """Makes the generation after this one; whether it was made, and is the highest."""
    name = self._name(unit, generation + 1)
    if not shared.link(self._own, name):
      return False
    # Where the listing was an old one, a later generation may be there, and counts.
    if self._tops().get(unit, (0, False))[0] != generation + 1:
      name.unlink(missing_ok=True)
      return False
    self._held[unit] = generation + 1
    before = self._name(unit, generation)
    for old in (before, before.with_name(f"{before.name}.free")):
      with contextlib.suppress(OSError):  # it counts no more, there or not
        old.unlink(missing_ok=True)
    return True

  def _gone(self, unit: str, generation: int) -> bool:
    watch = self._look(unit, generation)
    if watch is None:  # given up, or taken over, a moment ago
      return False
    silent = time.monotonic() - watch.since
    patience = max(self._lost_after, _FEWEST_BEATS * float(watch.about.get("beat_s", 0)))
    return presence.ended(watch.about) or silent >= patience

  def _look(self, unit: str, generation: int) -> _Watch | None:
    """Looks at a claim, and remembers since when it is as it is; None when it is not there."""
    now, old = time.monotonic(), self._seen.get(unit)
    try:
      # Opened, not only asked for: NFS then brings what it knows of the file up to date.
      with open(self._name(unit, generation), "rb") as file:
        status, content = os.fstat(file.fileno()), file.read()
    except OSError:
      return None
    mark = generation, status.st_ino, status.st_mtime_ns
    if old is None:
      new = _Watch(mark, now, now, False, _read(content))
    elif old.mark != mark:
      new = _Watch(mark, now, now, True, _read(content))
    else:
      # Had this process been away itself, so might all others have been.
      away = now - old.looked > self._lost_after / 2
      new = dataclasses.replace(old, since=now if away else old.since, looked=now)
    self._seen[unit] = new
    return new

  def _beat(self) -> None:
    while not self._ended.wait(self._beat_s):
      lost = self._lost()
      for unit in lost:
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


@dataclasses.dataclass(frozen=True)
class _Watch:
  """What was seen of a claim: its mark since `since` (last at `looked`), and whether it changed."""

  mark: tuple[int, int, int]
  since: float
  looked: float
  changed: bool
  about: Mapping[str, Any]


def _read(content: bytes) -> dict[str, Any]:
  try:
    about = json.loads(content)
  except ValueError:  # torn by a crash of its machine: who it was is not known
    return {}
  return about if isinstance(about, dict) else {}
