"""What a run would be: config, parameters, cost and mesh, without touching device memory."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.train.mesh import describe as describe_mesh
from ibjax.train.mesh import path_name
from ibjax.train.setup import Setup


def describe(setup: Setup) -> str:
  """Describes a run as text.

  Args:
    setup: the run, built but not started.

  Returns:
    The resolved config, a parameter table (name, shape, dtype, sharding), FLOPs per step, an
    estimate of the memory per device, and the mesh.
  """
  step = _compile_step(setup)
  lines = ["config", *_indent(yaml.safe_dump(dict(setup.config), sort_keys=True)), "", "parameters"]
  lines += [f"  {row}" for row in _parameter_table(setup.abstract.params)]
  state_bytes = sum(_per_device(leaf) for leaf in jax.tree.leaves(setup.abstract))
  resident = setup.splits["train"].nbytes + setup.splits["test"].nbytes if setup.resident else 0
  work = step.memory_analysis()
  temporary = int(getattr(work, "temp_size_in_bytes", 0) or 0)
  cost = step.cost_analysis() or {}
  flops = float(cost.get("flops", float("nan")))
  lines += [
    "",
    f"flops per step     {flops:.4g} per device ({flops * setup.mesh.size:.4g} in all)",
    f"memory per device  {_size(state_bytes + resident + temporary)} = state {_size(state_bytes)}"
    f" + data {_size(resident)} + temporary {_size(temporary)} (estimate)",
    f"steps              {setup.spec.total_steps} ({setup.spec.steps_per_epoch} per epoch), "
    f"{setup.config['train']['steps_per_dispatch']} per dispatch",
    f"data               {setup.source.name}, {'resident' if setup.resident else 'streamed'}: "
    + ", ".join(f"{name} {split.n}" for name, split in setup.splits.items()),
    f"mesh               {describe_mesh(setup.mesh)}",
  ]
  return "\n".join(lines)


def _compile_step(setup: Setup) -> Any:
  rows = NamedSharding(setup.mesh, PartitionSpec("data"))
  n, t = setup.config["data"]["batch_size"], setup.spec.target_dim
  batch = {
    "x": jax.ShapeDtypeStruct((n, *setup.spec.x_shape), setup.spec.x_dtype, sharding=rows),
    "y": jax.ShapeDtypeStruct(
      (n, t) if t else (n,), jnp.float32 if t else jnp.int32, sharding=rows
    ),
    "mask": jax.ShapeDtypeStruct((n,), jnp.bool_, sharding=rows),
  }
  step = jax.jit(setup.program.step, donate_argnums=0)
  return step.lower(setup.abstract, batch, setup.hyper).compile()


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


def _size(count: int) -> str:
  return f"{count / 2**20:.1f} MiB"


def _indent(text: str) -> list[str]:
  return [f"  {line}" for line in text.rstrip().splitlines()]
