"""What a run writes about itself: manifest, metric lines, TensorBoard events, the final row.

Lines of `metrics.jsonl` are {"step", "split", name: value}. Names of wall-clock values end in
_s, _ms or _per_s, so that all others compare equal between equal runs. On a resume at step s
the lines after s are dropped: the run writes them again, the same.

`plane.npz` holds the information plane, written whole just before each checkpoint: "step" [k],
"values" [k, c] float64, "names" [c] of its columns, "layers", the names of layer_1, layer_2, ...,
and what bounds it (see `ibjax.programs.plane.limits`).
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import numpy as np

import ibjax
from ibjax.core import files
from ibjax.core.errors import WorkdirError
from ibjax.programs import plane as plane_lib

PLANE = "plane.npz"
VERSIONED = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections")
CLOCK_SUFFIXES = ("_s", "_ms", "_per_s")


def prepare_workdir(workdir: pathlib.Path) -> None:
  """Makes the run's folder, or says why it cannot be used.

  Args:
    workdir: the folder; made with its parents when absent.

  Raises:
    WorkdirError: it is a file, cannot be made or cannot be written.
  """
  if workdir.exists() and not workdir.is_dir():
    raise WorkdirError(f"--workdir={workdir} is a file; give a folder (it is made if absent).")
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / f".probe.{os.getpid()}"
    probe.write_bytes(b"\0" * 4096)  # a quota of blocks takes an empty file
    probe.unlink(missing_ok=True)
  except OSError as error:
    raise WorkdirError(
      f"--workdir={workdir} cannot be written ({error.strerror or error}); choose another folder."
    ) from error


def read_manifest(workdir: pathlib.Path) -> dict[str, Any] | None:
  """Returns the manifest of a run folder; None when the folder holds no run.

  Args:
    workdir: a folder.

  Returns:
    What manifest.json holds, or None.

  Raises:
    WorkdirError: the folder holds checkpoints but no manifest, or a damaged one.
  """
  path = workdir / "manifest.json"
  if not path.exists():
    foreign = workdir / "checkpoints"
    if foreign.is_dir() and any(foreign.iterdir()):
      raise WorkdirError(
        f"{foreign} holds checkpoints, but there is no manifest.json beside it, so nothing says "
        "which config made them. Choose another --workdir, or move that folder away."
      )
    return None
  try:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for key in ("config", "config_hash", "data"):
      if not isinstance(manifest, dict) or key not in manifest:
        raise ValueError(f"it has no '{key}'")
  except (ValueError, OSError) as error:
    raise WorkdirError(f"{path} is not a manifest of ibjax: {error}.") from error
  return manifest


def session() -> dict[str, Any]:
  """Describes this process: versions, devices, time; one entry per start of the run.

  Returns:
    {"started" (UTC, ISO 8601), "commit", "versions", "devices", "processes"}.
  """
  versions = {"python": sys.version.split()[0], "ibjax": ibjax.__version__}
  for name in VERSIONED:
    try:
      versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return {
    "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "commit": commit(),
    "versions": versions,
    "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
    "processes": jax.process_count(),
  }


def commit() -> str:
  """Returns the git commit of the code, "+dirty" with local changes of it; "" outside a checkout.

  Returns:
    40 hex digits, perhaps with "+dirty", or "". Untracked files are no change.
  """
  root = pathlib.Path(ibjax.__file__).resolve().parent.parent

  def git(*arguments: str) -> str:
    done = subprocess.run(
      ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20
    )
    return done.stdout.strip() if done.returncode == 0 else ""

  try:
    if git("rev-parse", "--show-toplevel") != str(root):
      return ""
    head = git("rev-parse", "HEAD")
    # Results and documents that changed do not change what a run computes.
    changed = git("status", "--porcelain", "-uno", "--", "ibjax", "configs")
    return head + ("+dirty" if changed else "")
  except (OSError, subprocess.SubprocessError):
    return ""


class Records:
  """The metric lines of a run; only process 0 writes.

  Args:
    workdir: the run's folder.
    step: the step continued from; lines after it are dropped.
    active: whether this process writes.
  """

  def __init__(self, workdir: pathlib.Path, *, step: int, active: bool):
    self._active = active
    self.last: dict[str, dict[str, float]] = {}
    self._plane = _read_plane(workdir / PLANE, step)
    self._workdir = workdir
    self._summarize()
    if not active:
      return
    path = workdir / "metrics.jsonl"
    kept = [line for line in read_lines(path) if line["step"] <= step and step > 0]
    for line in kept:
      self.last[line["split"]] = {k: v for k, v in line.items() if k not in ("step", "split")}
    files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close())
    # tensorboardX is slow to import, and only process 0 needs it.
    from tensorboardX import SummaryWriter

    self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1, flush_secs=30)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Appends one line, and the same scalars to the TensorBoard events."""
    self.last[split] = dict(values)
    if not self._active:
      return
    # json writes NaN as a bare word that no other reader takes; a name is left out instead.
    finite = {name: value for name, value in values.items() if np.isfinite(value)}
    line = {"step": step, "split": split, **finite}
    try:
      self._file.write(json.dumps(line) + "\n")
      self._file.flush()
      for name, value in finite.items():
        self._events.add_scalar(f"{split}/{name}", value, step)
    except OSError as error:
      raise WorkdirError(f"cannot write {self._file.name}: {error.strerror or error}.") from error

  def track(
    self, step: int, about: Mapping[str, np.ndarray], values: Sequence[Mapping[str, float]]
  ) -> None:
    """Adds what was measured of the plane at a step; values are those of this run alone."""
    (own,) = values
    names, row = list(own), np.array(list(own.values()), np.float64)
    if not self._plane:
      self._plane = {**about, "names": np.array(names)}
      self._plane |= {"step": np.zeros(0, np.int64), "values": np.zeros((0, len(names)))}
    self._plane["step"] = np.append(self._plane["step"], step)
    self._plane["values"] = np.concatenate([self._plane["values"], row[None]])
    self._summarize()

  def _summarize(self) -> None:
    if self._plane:
      names = self._plane["names"].tolist()
      self.last["plane"] = plane_lib.summary(names, self._plane["values"])

  def sync(self) -> None:
    """Puts lines and plane on disk, before the checkpoint that counts on them."""
    if self._active:
      self._file.flush()
      os.fsync(self._file.fileno())
      if self._plane:
        files.write_npz(self._workdir / PLANE, self._plane)

  def close(self) -> None:
    """Closes the files."""
    if self._active:
      self._file.close()
      self._events.close()


class PopulationRecords:
  """The records of all members: each gets its own lines.

  Args:
    folders: the members' run folders.
    step: the step continued from.
    active: whether this process writes.
    frozen: member -> step, of those that diverged; nothing more is written of them.
  """

  def __init__(
    self, folders: Sequence[pathlib.Path], step: int, active: bool, frozen: Mapping[int, int]
  ):
    self._each = [Records(folder, step=step, active=active) for folder in folders]
    self._frozen = frozen

  def last(self, member: int) -> dict[str, dict[str, float]]:
    """Split -> name -> the last value, of one member."""
    return self._each[member].last

  def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
    """Writes a line for every member that has not diverged; values are [members] or shared."""
    for i, lines in enumerate(self._each):
      if i not in self._frozen:
        mine = {n: float(v[i]) if np.ndim(v) else float(v) for n, v in values.items()}
        lines.write(step, split, mine)

  def track(
    self, step: int, about: Mapping[str, np.ndarray], values: Sequence[Mapping[str, float]]
  ) -> None:
    """Adds the plane of every member that has not diverged; values are a mapping a member."""
    for i, lines in enumerate(self._each):
      if i not in self._frozen:
        lines.track(step, about, [values[i]])

  def sync(self) -> None:
    """Puts lines and planes on disk, before the checkpoint that counts on them."""
    for lines in self._each:
      lines.sync()

  def close(self) -> None:
    """Closes the files."""
    for lines in self._each:
      lines.close()


def _read_plane(path: pathlib.Path, step: int) -> dict[str, np.ndarray]:
  """The plane up to a step; {} when nothing of it is kept."""
  if step == 0 or not path.is_file():
    return {}
  try:
    with np.load(path, allow_pickle=False) as arrays:
      plane = {name: arrays[name] for name in arrays.files}
    kept = plane["step"] <= step
    return {**plane, "step": plane["step"][kept], "values": plane["values"][kept]}
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise WorkdirError(
      f"{path} cannot be read ({error}); it was damaged or edited. Take it away to continue with "
      "the plane from here on."
    ) from None


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """Reads metric lines; a last line cut off by a kill is left out.

  Args:
    path: a metrics.jsonl; it need not exist.

  Returns:
    Lines in the order written.

  Raises:
    WorkdirError: a line before the last is not a metric line: the file was damaged or edited.
  """
  lines: list[dict[str, Any]] = []
  texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
  for number, text in enumerate(texts, start=1):
    try:
      line = json.loads(text)
      line["step"], line["split"]
    except (ValueError, TypeError, KeyError):
      if number == len(texts):
        break
      raise WorkdirError(
        f"{path}, line {number}, is not a metric line; the file was damaged or edited. Delete "
        "that line, or take the file away to continue without the lines so far."
      ) from None
    lines.append(line)
  return lines


def comparable(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """The lines without their wall-clock values: equal for equal runs.

  Args:
    lines: metric lines.

  Returns:
    New lines, without the names that end in one of `CLOCK_SUFFIXES`.
  """
  return [
    {name: value for name, value in line.items() if not name.endswith(CLOCK_SUFFIXES)}
    for line in lines
  ]
