"""Checkpoints by Orbax: asynchronous, atomic, verified on the way back.

Rules:
1. A checkpoint exists once its folder has its final name; a killed save leaves none.
2. With each goes a digest of every array, computed on the devices, in integers, so that it does
   not depend on how the array is sharded. What is read back must have it.
3. The newest checkpoint that reads back whole is used; a damaged one is reported and skipped.
4. It opens on any number of devices: shapes and today's shardings are given, never yesterday's.
5. Each process writes the parts of arrays that its devices hold, and reads what they will hold;
   no process holds more. Of a part that several hold, each writes a share.
"""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint.checkpoint_managers import preservation_policy as keeping

from ibjax.core.errors import CheckpointError
from ibjax.core.types import Tree
from ibjax.train.mesh import path_name

Array = jax.Array


def digest(tree: Tree, rows: int | None = None) -> Array:
  """Fingerprints arrays by their bits, whatever their sharding.

  Formula: per array, sum_i b_i (2 i + 1) mod 2^32 over its 32-bit words b_i.

  Args:
    tree: arrays of 1-, 2- or 4-byte types.
    rows: how many of each array's first rows count; all when None.

  Returns:
    [arrays] uint32, in the order of the tree's leaves.
  """

  def one(x: Array) -> Array:
    if x.dtype == jnp.bool_:
      x = x.astype(jnp.uint8)
    width = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(x, width).astype(jnp.uint32)
    # The place of each value, without flattening: that would gather a sharded array.
    place = jnp.zeros(x.shape, jnp.uint32)
    for axis, size in enumerate(x.shape):
      place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    if rows is not None and rows < len(x):
      bits = jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, 0) < rows, bits, 0)
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)

  return jnp.stack([one(leaf) for leaf in jax.tree.leaves(tree)])


# Kept, because the members of a population are all alike and each has checkpoints of its own.
@functools.lru_cache(maxsize=8)
def _compiled(structure: Any, shardings: tuple[NamedSharding, ...], rows: int | None) -> Any:
  """(copy, digest) of states that lie so; a copy lies as its state, on each device its part."""
  alike = jax.tree.unflatten(structure, shardings)
  everywhere = NamedSharding(shardings[0].mesh, PartitionSpec())
  copy = jax.jit(lambda state: jax.tree.map(jnp.copy, state), out_shardings=alike)
  return copy, jax.jit(functools.partial(digest, rows=rows), out_shardings=everywhere)


class Checkpoints:
  """The checkpoints of one run.

  Args:
    directory: where they live, one folder a step.
    keep: how many of the newest to keep.
    best: name of the validation metric whose lowest value is kept too; "" for none.
    report: called with a line of text about anything the user should know.
    read_only: never write, delete or make the folder.
    rows: of a population, its members: how many of each array's first rows count. The others,
      which fill up the devices, may be as many as they are, other than in the checkpoint too.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    *,
    keep: int,
    best: str,
    report: Callable[[str], None],
    read_only: bool = False,
    rows: int | None = None,
  ):
    self._report, self._best, self._rows = report, best, rows
    policies: list[Any] = [keeping.LatestN(max(1, keep))]
    if best:
      policies.append(
        keeping.BestN(
          get_metric_fn=lambda m: m[best], reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
      )
    options = ocp.CheckpointManagerOptions(
      preservation_policy=keeping.AnyPreservationPolicy(policies),
      best_fn=(lambda m: m[best]) if best else None,
      best_mode="min",
      cleanup_tmp_directories=not read_only,
      create=not read_only,
      read_only=read_only,
      enable_async_checkpointing=True,
    )
    # Handlers given, not guessed: otherwise a manager that has saved nothing cannot list arrays.
    handlers = {"state": ocp.StandardCheckpointHandler(), "about": ocp.JsonCheckpointHandler()}
    self._manager = ocp.CheckpointManager(
      directory.absolute(), options=options, item_handlers=handlers
    )

  def _tools(self, state: Tree) -> Any:
    leaves, structure = jax.tree.flatten(state)
    return _compiled(structure, tuple(leaf.sharding for leaf in leaves), self._rows)

  def steps(self) -> list[int]:
    """Returns the steps that have a checkpoint, in order."""
    return sorted(self._manager.all_steps())

  def best_step(self) -> int | None:
    """Returns the step with the lowest value of the validation metric, or None."""
    return self._manager.best_step() if self._best else None

  def save(self, step: int, state: Tree, metrics: dict[str, float] | None = None) -> None:
    """Starts saving; returns when the state may be changed.

    Args:
      step: number of updates done.
      state: the whole training state.
      metrics: validation metrics at this step, where "best" is kept.

    Raises:
      CheckpointError: this save or the one before it failed (a full disk, say). The checkpoints
        before are untouched.
    """
    if step in self._manager.all_steps():
      return
    copy, fingerprint = self._tools(state)
    about = {"step": step, "digest": np.asarray(fingerprint(state)).tolist()}
    try:
      # The next update gives the state's buffers away while they are still being written.
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(copy(state)), about=ocp.args.JsonSave(about)
        ),
        metrics=metrics if self._best else None,
        force=True,
      )
    except Exception as error:
      raise self._failed(error) from error

  def wait(self) -> None:
    """Returns when everything is on disk; raises CheckpointError if it could not be written."""
    try:
      self._manager.wait_until_finished()
      self._manager.check_for_errors()
    except Exception as error:
      raise self._failed(error) from error

  def _failed(self, error: Exception) -> CheckpointError:
    last = max(self._manager.all_steps(), default=None)
    usable = "none was saved before" if last is None else f"the last good one is of step {last}"
    return CheckpointError(
      f"a checkpoint could not be written to {self._manager.directory} ({usable}): "
      f"{_first_line(error)}. Free some space (or fix the folder) and run the same command again; "
      "it continues from there."
    )

  def restore(
    self, abstract: Tree, step: int | None = None, *, set_aside: bool = False
  ) -> tuple[int, Tree] | None:
    """Reads back the newest checkpoint that is whole, or the one of a step.

    Args:
      abstract: the state as `jax.ShapeDtypeStruct`s with today's shardings.
      step: a step to read, or None for the newest.
      set_aside: move damaged checkpoints newer than the one returned to "<folder>-damaged", so
        that the run can save those steps again.

    Returns:
      (step, state), or None when there is no checkpoint at all.

    Raises:
      CheckpointError: no such step; none of them reads back; or they belong to another model.
    """
    steps = self.steps()
    if step is not None and step not in steps:
      raise CheckpointError(f"there is no checkpoint of step {step}; there are {steps or 'none'}.")
    candidates = [step] if step is not None else steps[::-1]
    problems = []
    for candidate in candidates:
      try:
        state = self._read(candidate, abstract)
        if set_aside:
          self._set_aside([other for other in candidates if other > candidate])
        return candidate, state
      except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
        problems.append(f"step {candidate}: {_first_line(error)}")
        self._report(f"checkpoint of {problems[-1]} -- skipped")
    if not problems:
      return None
    raise CheckpointError(
      f"no checkpoint in {self._manager.directory} can be read: " + "; ".join(problems) + ". "
      "Delete that folder to start over, or choose another --workdir."
    )

  def _read(self, step: int, abstract: Tree) -> Tree:
    error: Exception | None = None
    try:
      about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))
      self._check_shapes(step, abstract)
      # Not strict: rows that fill up the devices are cut off, or added as zeros, where they differ.
      wanted = ocp.args.StandardRestore(abstract, strict=self._rows is None)
      restored = self._manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]
    except Exception as caught:
      error = caught
    if jax.process_count() > 1:
      # Each reads its own part: what one cannot read, none may go on with, to a digest of all.
      good = multihost_utils.process_allgather(np.array(error is None))
      if error is None and not np.all(good):
        error = CheckpointError(f"process {int(np.argmin(good))} cannot read its part of it")
    if error is not None:
      raise error
    found = np.asarray(self._tools(restored)[1](restored)).tolist()
    saved = about["about"]["digest"]
    if found != saved:
      leaves = jax.tree_util.tree_flatten_with_path(abstract)[0]
      names = [path_name(path) for path, _ in leaves]
      damaged = [name for name, a, b in zip(names, found, saved) if a != b]
      raise CheckpointError(f"damaged: {', '.join(damaged[:3])} read back with other values")
    return restored

  def _set_aside(self, steps: list[int]) -> None:
    directory = pathlib.Path(self._manager.directory)
    if jax.process_index() == 0:
      for step in steps:
        aside = directory.with_name(f"{directory.name}-damaged")
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / str(step), ignore_errors=True)
        (directory / str(step)).rename(aside / str(step))
    if steps:
      multihost_utils.sync_global_devices("ibjax_set_aside")
      self._manager.reload()

  def _check_shapes(self, step: int, abstract: Tree) -> None:
    shapes = self._shapes(self._manager.item_metadata(step)["state"])
    wanted = self._shapes(abstract)
    if not shapes:
      raise CheckpointError("its list of arrays is missing")
    for name in sorted(shapes.keys() | wanted.keys()):
      if shapes.get(name) != wanted.get(name):
        raise CheckpointError(
          f"it belongs to another model: {name} is {shapes.get(name, 'absent')} there and "
          f"{wanted.get(name, 'absent')} in this config"
        )

  def _shapes(self, tree: Tree) -> dict[str, tuple[int, ...]]:
    """Path -> shape; of a population with as many rows as count, if they are there."""
    shapes = {
      path_name(path): tuple(leaf.shape)
      for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
      if hasattr(leaf, "shape")
    }
    if self._rows is None:
      return shapes
    return {name: (min(self._rows, shape[0]), *shape[1:]) for name, shape in shapes.items()}

  def close(self) -> None:
    """Waits for what is being written and stops the threads."""
    self._manager.close()


def _first_line(error: Exception) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:300].rstrip(".")
