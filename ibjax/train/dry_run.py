"""What a run would be: config, parameters, cost and mesh, without touching device memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.train import collectives
from ibjax.train.mesh import describe as describe_mesh
from ibjax.train.mesh import path_name
from ibjax.train.setup import Setup


@dataclasses.dataclass(frozen=True)
class Cost:
  """What one update costs a device, as XLA counts its compiled program.

  Attributes:
    flops: floating-point operations; a loop counts as one pass.
    bytes_accessed: what its instructions read and write in memory; a loop counts as one pass.
    temporary: bytes of memory for what lives only during the update.
    traffic: its collectives.
  """

  flops: float
  bytes_accessed: float
  temporary: int
  traffic: collectives.Traffic

  @property
  def intensity(self) -> float:
    """FLOPs per byte accessed."""
    return self.flops / self.bytes_accessed if self.bytes_accessed else math.nan


def describe(setup: Setup) -> str:
  """Describes a run or a population as text.

  Args:
    setup: the run, built but not started.

  Returns:
    The resolved config (of a population, its first member's), a parameter table (name, shape,
    dtype, sharding), FLOPs and bytes accessed per step, the collectives by kind, an estimate of
    the memory per device, and the mesh.
  """
  cost = step_cost(setup)
  lines = ["config", *_indent(yaml.safe_dump(dict(setup.config), sort_keys=True)), "", "parameters"]
  lines += [f"  {row}" for row in _parameter_table(setup.solo.params)]
  state = state_bytes(setup)
  resident = setup.splits["train"].nbytes + setup.splits["test"].nbytes if setup.resident else 0
  members = len(setup.configs)
  together = getattr(setup.runner, "strategy", "")
  lines += [
    "",
    *([f"members            {members} in one program ({together})"] if together else []),
    f"flops per step     {cost.flops:.4g} per device ({cost.flops * setup.mesh.size:.4g} in all)",
    f"bytes accessed     {_size(cost.bytes_accessed)} per device and step "
    f"({_size(cost.bytes_accessed * setup.mesh.size)} in all), {cost.intensity:.3g} flops a byte",
    *_traffic_table(cost.traffic),
    *_loops(cost.traffic),
    f"memory per device  {_size(state + resident + cost.temporary)} = state "
    f"{_size(state)} + data {_size(resident)} + temporary {_size(cost.temporary)} (estimate)",
    f"steps              {setup.spec.total_steps} ({setup.spec.steps_per_epoch} per epoch), "
    f"{setup.config['train']['steps_per_dispatch']} per dispatch",
    f"data               {setup.source.name}, {'resident' if setup.resident else 'streamed'}: "
    + ", ".join(f"{name} {split.n}" for name, split in setup.splits.items()),
    f"mesh               {describe_mesh(setup.mesh)}",
    *_idle(setup),
  ]
  return "\n".join(lines)


def step_cost(setup: Setup) -> Cost:
  """Compiles one update of a run, or of all members of a population, and counts its cost.

  Args:
    setup: the run, built but not started; nothing is put on a device.

  Returns:
    Its `Cost`.
  """
  rows = PartitionSpec("data")
  n, t = setup.config["data"]["batch_size"], setup.spec.target_dim
  batch = {
    "x": ((n, *setup.spec.x_shape), setup.spec.x_dtype),
    "y": ((n, t) if t else (n,), jnp.float32 if t else jnp.int32),
    "mask": ((n,), jnp.bool_),
  }
  members = _padded(setup)
  lead, spec = ((members,), PartitionSpec("population", *rows)) if members else ((), rows)
  abstract = {
    name: jax.ShapeDtypeStruct((*lead, *shape), dtype, sharding=NamedSharding(setup.mesh, spec))
    for name, (shape, dtype) in batch.items()
  }
  compiled = setup.runner.step.lower(setup.abstract, abstract, setup.hyper).compile()
  counted = compiled.cost_analysis() or {}
  return Cost(
    flops=float(counted.get("flops", math.nan)),
    bytes_accessed=float(counted.get("bytes accessed", math.nan)),
    temporary=int(getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) or 0),
    traffic=collectives.read(compiled.as_text() or ""),
  )


def state_bytes(setup: Setup) -> int:
  """Bytes of the state that a device holds, those of all its members together.

  Args:
    setup: the run, built but not started.

  Returns:
    Bytes, of a device that holds as much as any.
  """
  return sum(_per_device(leaf) for leaf in jax.tree.leaves(setup.abstract))


def _padded(setup: Setup) -> int:
  """Members that the program computes, copies that fill up devices included; 0 for a run."""
  return getattr(setup.runner, "padded", 0)


def _traffic_table(traffic: collectives.Traffic) -> Iterator[str]:
  times, payload, sent = traffic.total()
  if not times:
    yield "collectives        none: a step sends nothing between devices"
    return
  yield (
    f"collectives        {times} per step, {_size(payload)} per device; as rings a device sends "
    f"{_size(sent)}"
  )
  for kind in collectives.KINDS:
    times, payload, sent = traffic.total(kind)
    if times:
      groups = sorted({c.group for c in traffic.collectives if c.kind == kind})
      over = ", ".join(str(group) for group in groups)
      yield f"  {kind:<22} {times:>4}   {_size(payload):>12}   {_size(sent):>12}   over {over}"
  if any(not c.counted for c in traffic.collectives):
    yield "  some stand in a loop of unknown length, of which one pass is counted"


def _loops(traffic: collectives.Traffic) -> Iterator[str]:
  if traffic.loops:
    passes = ", ".join("?" if n is None else str(n) for n in sorted(traffic.loops, key=str))
    yield f"loops              of {passes} passes; flops and bytes accessed count one of each"


def _idle(setup: Setup) -> Iterator[str]:
  """Says so when the devices along the model axis all do the same."""
  size = setup.mesh.shape["model"]
  used = {axis for leaf in jax.tree.leaves(setup.solo) for axis in leaf.sharding.spec}
  if size > 1 and "model" not in used:
    yield (
      f"                   no array lies over the axis 'model': its {size} devices all do the "
      "same work. Give rules in config.sharding, or leave the axis out"
    )


def _parameter_table(params: Any) -> list[str]:
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  rows = [("name", "shape", "dtype", "sharding")]
  for path, leaf in leaves:
    shape = "x".join(str(size) for size in leaf.shape) or "scalar"
    spec = [str(axis) for axis in leaf.sharding.spec if axis is not None]
    rows.append((path_name(path), shape, str(leaf.dtype), ", ".join(spec) or "replicated"))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  total = sum(int(np.prod(leaf.shape)) for _, leaf in leaves)
  table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
  return [*(line.rstrip() for line in table), f"total {total:,} parameters"]


def _per_device(leaf: Any) -> int:
  shard = leaf.sharding.shard_shape(leaf.shape)
  return math.prod(shard) * np.dtype(leaf.dtype).itemsize


def _size(count: float) -> str:
  if count < 2**20:
    return f"{count / 2**10:.1f} KiB"
  return f"{count / 2**20:.1f} MiB" if count < 2**34 else f"{count / 2**30:.1f} GiB"


def _indent(text: str) -> list[str]:
  return [f"  {line}" for line in text.rstrip().splitlines()]
