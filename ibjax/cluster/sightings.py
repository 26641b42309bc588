"""What one process saw of the claims of others: since when each is as it is, and who holds it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from ibjax.cluster import presence

_FEWEST_BEATS = 4  # signs that must be missing, where a holder gives them seldom


@dataclasses.dataclass(frozen=True)
class _Sighting:
  """The claim's mark since `since`, last seen at `looked`, and whether another was seen before."""

  mark: tuple[int, int, int]
  since: float
  looked: float
  changed: bool
  about: Mapping[str, Any]


class Sightings:
  """The claims that one process has looked at, by its own monotonic clock.

  Args:
    lost_after: seconds without a sign of a holder after which it counts as gone.
  """

  def __init__(self, lost_after: float):
    self._lost_after = lost_after
    self._last: dict[str, _Sighting] = {}

  def gone(self, unit: str, generation: int, path: pathlib.Path) -> bool:
    """Looks at a claim; whether its holder is gone.

    Args:
      unit: what is claimed.
      generation: of the claim.
      path: its file.

    Returns:
      True when the holder has ended, or gave no sign for long while this process looked. False
      when the claim is not there: it was given up or taken over a moment ago.
    """
    sighting = self._look(unit, generation, path)
    if sighting is None:
      return False
    silent = time.monotonic() - sighting.since
    patience = max(self._lost_after, _FEWEST_BEATS * float(sighting.about.get("beat_s", 0)))
    return presence.ended(sighting.about) or silent >= patience

  def about(self, unit: str, generation: int, path: pathlib.Path) -> dict[str, Any]:
    """Looks at a claim; what its holder said of itself.

    Args:
      unit: what is claimed.
      generation: of the claim.
      path: its file.

    Returns:
      {} when the claim is not there, or cannot be read.
    """
    sighting = self._look(unit, generation, path)
    return {} if sighting is None else dict(sighting.about)

  def changed(self, unit: str) -> bool:
    """Whether more than one state of a claim was seen.

    Args:
      unit: what is claimed.

    Returns:
      True after a sign of its holder, or another holder.
    """
    return unit in self._last and self._last[unit].changed

  def _look(self, unit: str, generation: int, path: pathlib.Path) -> _Sighting | None:
    now, old = time.monotonic(), self._last.get(unit)
    try:
      # Opened, not only asked for: NFS then brings what it knows of the file up to date.
      with open(path, "rb") as file:
        status, content = os.fstat(file.fileno()), file.read()
    except OSError:
      return None
    mark = generation, status.st_ino, status.st_mtime_ns
    if old is None or old.mark != mark:
      new = _Sighting(mark, now, now, old is not None, _read(content))
    else:
      # Had this process been away itself, so might all others have been.
      away = now - old.looked > self._lost_after / 2
      new = dataclasses.replace(old, since=now if away else old.since, looked=now)
    self._last[unit] = new
    return new


def _read(content: bytes) -> dict[str, Any]:
  try:
    about = json.loads(content)
  except ValueError:  # torn by a crash of its machine: who it was is not known
    return {}
  return about if isinstance(about, dict) else {}
