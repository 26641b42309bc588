"""Training many runs as one program: the members, their folders, chunks that fit in memory.

Every member ends as an ordinary run folder, as its solo run would leave it: manifest, metric
lines, final row, a checkpoint. While a chunk trains, the state of all its members is one
checkpoint below the population's own folder, so that a kill costs no member more than another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ibjax.core import files
from ibjax.core.config import config_hash, flatten
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.core.types import TrainState
from ibjax.train import loop, outcome, plan, records
from ibjax.train.assessing import assessor
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.members import PopulationRunner
from ibjax.train.memory import members_that_fit
from ibjax.train.mesh import describe as describe_mesh
from ibjax.train.progress import Progress
from ibjax.train.setup import Setup, build_population, check_one_program
from ibjax.train.warm_start import take_over, warm_start_folder, warm_state

STATE = "population-state"


@dataclasses.dataclass(frozen=True)
class Member:
  """One run of a population.

  Attributes:
    config: the resolved config of its solo run.
    folder: its run folder.
    about: what its manifest tells besides: "config_file", "overrides" (a list of
      "config.key=value") and "command", which makes it alone.
  """

  config: Mapping[str, Any]
  folder: pathlib.Path
  about: Mapping[str, Any]


def train_members(
  members: Sequence[Member],
  home: pathlib.Path,
  data_dir: str | os.PathLike | None = None,
  *,
  chunk: int | None = None,
  strategy: str = "",
  pulse: Callable[[int, int, float], None] | None = None,
) -> None:
  """Trains all members that are not finished, as few programs as memory allows.

  A member whose config names another member in `warm_start` waits for it: members are trained in
  waves, a wave once those before it are finished.

  Args:
    members: runs that differ in traced values alone.
    home: the folder for what belongs to no single member.
    data_dir: where prepared data sets live.
    chunk: members to train at a time; as many as fit in memory when None.
    strategy: "vmap", "loop" or "", see `build_population`.
    pulse: told (step, total, steps per second) after every dispatch.

  Raises:
    ConfigError: members that are not one program, share a folder, or whose folder holds another
      run; a value that does not fit; data that changed.
    Stopped: told to stop; all is saved, and the same call continues.
  """
  progress = Progress(0, jax.process_index() == 0)
  check_members(members)
  session = records.session()

  def build(part: Sequence[Member]) -> Setup:
    return build_population([member.config for member in part], data_dir, strategy=strategy)

  for wave in waves(members):
    begun = list(_continued(wave, home))
    inside = {member.folder for part in begun for member in part}
    left = [m for m in wave if m.folder not in inside and not finished(m)]
    _meet("looked")  # all processes have seen the same folders before one writes
    for part in begun:
      _train_chunk(build(part), part, home, session, pulse)
    if not left:
      continue
    setup = build(left)
    size, estimate = members_that_fit(setup)
    progress.say(estimate)
    size = chunk or size
    for first in range(0, len(left), size):
      part = left[first : first + size]
      own = setup if len(part) == len(left) else build(part)
      _train_chunk(own, part, home, session, pulse)


def _meet(where: str) -> None:
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(f"ibjax_population_{where}")


def finished(member: Member) -> bool:
  """Whether a member's folder holds its final row.

  Args:
    member: a member.

  Returns:
    True when result.json is there and is of the member's config.
  """
  return plan.finished(member.folder, config_hash(member.config))


def waves(members: Sequence[Member]) -> list[list[Member]]:
  """Orders members so that each comes after the one it starts from.

  Args:
    members: members, in any order.

  Returns:
    Lists of members; none needs another of its own list or of a later one.

  Raises:
    ConfigError: members that wait for each other in a circle.
  """
  by_folder = {member.folder.resolve(): member for member in members}
  result: list[list[Member]] = []
  placed: set[pathlib.Path] = set()
  left = list(members)
  while left:
    sources = [warm_start_folder(member.config, member.folder) for member in left]
    ready = [m for m, s in zip(left, sources) if s not in by_folder or s in placed]
    if not ready:
      names = ", ".join(member.folder.name for member in left[:3])
      raise ConfigError(f"config.warm_start goes in a circle: {names} wait for each other.")
    result.append(ready)
    placed |= {member.folder.resolve() for member in ready}
    left = [member for member in left if member.folder.resolve() not in placed]
  return result


def check_members(members: Sequence[Member]) -> None:
  """Raises unless members are one program, in folders of their own that hold nothing else.

  Args:
    members: members.

  Raises:
    ConfigError: they are not; says which, and what to do.
  """
  folders: dict[pathlib.Path, Member] = {}
  for member in members:
    check_one_program(members[0].config, member.config)
    other = folders.setdefault(member.folder.resolve(), member)
    if other is not member:
      raise ConfigError(f"two members of the population have the same folder, {member.folder}.")
    old = records.read_manifest(member.folder) if member.folder.exists() else None
    if old is not None:
      advice = "Choose another --workdir, or move that folder away."
      outcome.check_same(old["config"], member.config, member.folder, advice)


def _continued(wave: Sequence[Member], home: pathlib.Path) -> Iterator[list[Member]]:
  """Yields the chunks that were begun before and whose members are all asked for again."""
  by_name = {_identity(member): member for member in wave}
  for file in sorted((home / STATE).glob("*/members.json")):
    names = json.loads(file.read_text(encoding="utf-8"))
    if all(name in by_name for name in names):
      yield [by_name[name] for name in names]


def _identity(member: Member) -> str:
  return f"{member.folder.resolve()} {config_hash(member.config)}"


def _train_chunk(
  setup: Setup,
  members: Sequence[Member],
  home: pathlib.Path,
  session: Mapping[str, Any],
  pulse: Callable[[int, int, float], None] | None,
) -> None:
  main = jax.process_index() == 0
  name = hashlib.sha256("\n".join(_identity(m) for m in members).encode()).hexdigest()[:12]
  folder = home / STATE / name
  if main:
    _prepare(setup, members, folder, session)
  progress = Progress(setup.spec.total_steps, main, pulse)
  how = f"{getattr(setup.runner, 'strategy', '')}, {describe_mesh(setup.mesh)}"
  progress.say(f"{len(members)} members in one program ({how}): {_spread(members)}")
  checkpoints = Checkpoints(
    folder / "checkpoints", keep=1, best="", report=progress.say, rows=len(members)
  )
  frozen: dict[int, int] = {}
  folders = [member.folder for member in members]
  try:
    state, lines, timing = loop.advance(
      setup,
      checkpoints,
      lambda step: records.PopulationRecords(folders, step, main, frozen),
      progress,
      _judge(setup, members, frozen, progress),
      _begin(setup, members),
    )
    _finish(setup, members, state, lines, timing, frozen)
  finally:
    checkpoints.close()
  if main:
    shutil.rmtree(folder, ignore_errors=True)
    if not any(folder.parent.iterdir()):
      folder.parent.rmdir()
  _meet("finished")


def _prepare(
  setup: Setup, members: Sequence[Member], folder: pathlib.Path, session: Mapping[str, Any]
) -> None:
  """Writes what must be known before the first step: members of the chunk, their manifests."""
  for i, member in enumerate(members):
    records.prepare_workdir(member.folder)
    old = records.read_manifest(member.folder)
    about = {**member.about, "population": {"member": i, "of": len(members)}}
    manifest = outcome.make_manifest(setup, member.config, about, old, session)
    files.write_json(member.folder / "manifest.json", manifest)
    (member.folder / "result.json").unlink(missing_ok=True)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise WorkdirError(f"{folder} cannot be made ({error.strerror or error}).") from error
  files.write_json(folder / "members.json", [_identity(member) for member in members])


def _pick(setup: Setup, state: TrainState, member: int) -> TrainState:
  assert isinstance(setup.runner, PopulationRunner)
  return setup.runner.pick(state, np.int32(member))


def _begin(setup: Setup, members: Sequence[Member]) -> Callable[[], TrainState] | None:
  """What gives the state of step 0, when members start from others."""
  if not any(member.config.get("warm_start") for member in members):
    return None

  def begin() -> TrainState:
    runner = setup.runner
    assert isinstance(runner, PopulationRunner)
    state = runner.init(setup.hyper)
    for i, member in enumerate(members):
      given = warm_state(setup, member.config, member.folder)
      if given is not None:
        state = runner.put(state, take_over(_pick(setup, state, i), given), np.int32(i))
    return runner.load(state)

  return begin


def _judge(
  setup: Setup, members: Sequence[Member], frozen: dict[int, int], progress: Progress
) -> Callable[[TrainState], bool]:
  """What looks at the losses after every dispatch: marks the members that diverged."""

  def judge(state: TrainState) -> bool:
    for i, bad in enumerate(setup.runner.read(state.bad_step).tolist()):
      if bad < 0 or i in frozen:
        continue
      frozen[i] = bad
      own = _pick(setup, state, i)
      where = loop.save_diverged(own, bad, members[i].folder, progress)
      progress.say(
        f"{members[i].folder.name} diverged at step {bad}, {loop.offending(own.bad_terms)}: it is "
        f"held there ({where}); {len(members) - len(frozen)} of {len(members)} go on"
      )
    return len(frozen) < len(members)

  return judge


def _finish(
  setup: Setup,
  members: Sequence[Member],
  state: TrainState,
  lines: records.PopulationRecords,
  timing: Mapping[str, float],
  frozen: Mapping[int, int],
) -> None:
  """Leaves every member's folder as its solo run would."""
  # A population restored after its last step has judged nothing yet.
  diverged = {i: s for i, s in enumerate(setup.runner.read(state.bad_step).tolist()) if s >= 0}
  values = loop.predictions(setup, state, "test")
  own_split = loop.evaluate_train_split(setup, state)
  assessed = assessor(setup)
  for i, member in enumerate(members):
    keeper = Checkpoints(member.folder / "checkpoints", keep=1, best="", report=lambda text: None)
    own = _pick(setup, state, i)
    keeper.save(diverged.get(i, int(timing["step"])), own)
    keeper.wait()
    keeper.close()
    # Every process takes part: the state may be spread over all of them.
    found = {} if i in diverged else assessed(member.config, own, member.folder)
    if jax.process_index() == 0:
      extra: dict[str, float] = {**timing, "train_s": timing["train_s"] / len(members)}
      if i in diverged:
        extra |= {"step": diverged[i], "diverged_at_step": diverged[i]}
      mine = {name: value[i] for name, value in values.items()}
      last = {split: {n: v[i] for n, v in part.items()} for split, part in own_split.items()}
      last = {**lines.last(i), **last, **found}
      outcome.write_results(setup, member.config, mine, last, extra, member.folder)
  lines.close()


def _spread(members: Sequence[Member]) -> str:
  """What varies, with its range: "objective.beta 0.0001..1, seed 0..4"."""
  flat = [dict(flatten(member.config)) for member in members]
  texts = []
  for key in flat[0]:
    values = {config[key] for config in flat if isinstance(config[key], (int, float))}
    if len(values) > 1:
      texts.append(f"{key} {min(values):g}..{max(values):g}")
  return ", ".join(texts) or "all alike"
