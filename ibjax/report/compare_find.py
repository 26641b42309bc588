"""Finding the runs under some folders, and naming what cannot be read."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence

from ibjax.core.errors import WorkdirError, nearest
from ibjax.report.runs import Run, read_run

# What a run keeps below itself; no other run is looked for there.
INNER = {"checkpoints", "checkpoints-damaged", "diverged", "tensorboard"}


@dataclasses.dataclass(frozen=True)
class Found:
  """What a search came upon.

  Attributes:
    runs: the runs that can be read, by path.
    notes: one line for every folder left out or read in part, with the reason.
  """

  runs: tuple[Run, ...]
  notes: tuple[str, ...]


def find_runs(places: Sequence[str | os.PathLike]) -> Found:
  """Reads the run folders among some folders and below them.

  A damaged run is left out and named; the others are read.

  Args:
    places: run folders, or folders searched recursively for manifest.json.

  Returns:
    The runs, each once however often it was named, and the notes.

  Raises:
    WorkdirError: a place does not exist (names the nearest), or no run that can be read is
      under any of them.

  Example:
    >>> import pathlib, tempfile
    >>> from ibjax.report.compare_find import find_runs
    >>> home = pathlib.Path(tempfile.mkdtemp())
    >>> (home / "seed_0").mkdir()
    >>> _ = (home / "seed_0" / "manifest.json").write_text('{"config": {"seed": 0}}')
    >>> [run.path.name for run in find_runs([home]).runs]
    ['seed_0']
  """
  folders: dict[str, pathlib.Path] = {}
  notes: list[str] = []
  for place in map(pathlib.Path, places):
    _check_place(place)
    for folder in _search(place, notes):
      folders.setdefault(os.path.realpath(folder), folder)
  runs = []
  for folder in sorted(folders.values()):
    # A damaged metric line is a warning of the reader; on a page of many it needs its run's name.
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      try:
        runs.append(_read(folder))
      except OSError as error:  # a WorkdirError is one
        notes.append(f"{folder} is left out: {error}")
    notes += [str(warning.message) for warning in caught]
  if not runs:
    shown = ", ".join(f"'{place}'" for place in places)
    damaged = "".join(f"\n  {note}" for note in notes)
    raise WorkdirError(
      f"found no run that can be read under {shown}: "
      + (f"every folder with a manifest.json is damaged.{damaged}" if notes else _WHAT_A_RUN_IS)
    )
  return Found(tuple(runs), tuple(notes))


_WHAT_A_RUN_IS = (
  "no folder there holds a manifest.json. Expected folders that training wrote, "
  "`ibjax train --config=FILE.py --workdir=FOLDER`, or a folder above them."
)


def _check_place(place: pathlib.Path) -> None:
  if place.is_dir():
    return
  if place.exists():
    hint = f" Did you mean its folder, '{place.parent}'?" if place.name == "manifest.json" else ""
    raise WorkdirError(f"'{place}' is a file; expected a folder of runs.{hint}")
  beside = []
  if place.parent.is_dir():
    beside = [child.name for child in place.parent.iterdir() if child.is_dir()]
  guess = nearest(place.name, beside)
  hint = f" Did you mean '{place.parent / guess}'?" if guess else ""
  raise WorkdirError(f"'{place}' does not exist; expected a run folder, or one above runs.{hint}")


def _search(place: pathlib.Path, notes: list[str]) -> Iterator[pathlib.Path]:
  def failed(error: OSError) -> None:
    notes.append(f"{error.filename} is left out: {error.strerror or error}")

  seen = set()
  for here, folders, files in os.walk(place, onerror=failed, followlinks=True):
    real = os.path.realpath(here)
    if real in seen:  # a link that leads back up
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(f for f in folders if f not in INNER and not f.startswith("."))
    if "manifest.json" in files:
      yield pathlib.Path(here)


def _read(folder: pathlib.Path) -> Run:
  run = read_run(folder)
  if not isinstance(run.manifest.get("config"), Mapping):
    raise WorkdirError(
      "its manifest.json holds no config, so it is not one that `ibjax train` wrote."
    )
  return run
