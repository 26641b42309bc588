"""How many members of a population fit in memory: an estimate, which is printed."""

from __future__ import annotations

import os
import platform
import zlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from ibjax.train import mesh as mesh_lib
from ibjax.train.setup import Setup

# Share of the free memory that an estimate may fill.
SHARE = 0.7
COPIES = 3


def members_that_fit(setup: Setup) -> tuple[int, str]:
  """Estimates how many members can be trained at a time.

  Formula: share * (free memory - data) / member; see `member_bytes`. Of several processes the one
  with the least memory decides, for all of them train as many.

  Args:
    setup: the population of all members.

  Returns:
    (a number from 1 to all of them, the estimate as a line of text).
  """
  count, each = len(setup.configs), member_bytes(setup)
  data = sum(split.nbytes for split in setup.splits.values())
  free = free_bytes(setup)
  # A process holds its part of the members, where these are spread, and all of the data.
  parts = min(mesh_lib.processes(setup.mesh), setup.mesh.shape["population"])
  fits = max(1, min(count, int((SHARE * free - data) * parts / each)))
  if jax.process_count() > 1:
    fits = int(np.min(multihost_utils.process_allgather(np.int32(fits))))
  chunks = -(-count // fits)
  return fits, (
    f"memory: {count} members of about {each / 2**20:.0f} MiB and {data / 2**20:.0f} MiB of data, "
    f"{free / 2**30:.1f} GiB free"
    + (f" for each of {parts} processes: " if parts > 1 else ": ")
    + ("all at once" if chunks == 1 else f"{chunks} chunks of up to {fits}, one after another")
  )


def member_bytes(setup: Setup) -> int:
  """Estimates what one member takes, in bytes.

  Formula: 3 * state + 8 * batch * (width of the input + parameters / width of the input): the
  state, its copy while a checkpoint is written, gradients; activations in both directions.

  Args:
    setup: a population.

  Returns:
    Bytes, over all devices together.
  """
  state = sum(
    int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(setup.solo)
  )
  weights = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(setup.solo.params))
  width = int(np.prod(setup.spec.x_shape))
  batch = setup.config["data"]["batch_size"] * setup.config["train"]["samples"]
  return COPIES * state + 8 * batch * (width + weights // max(1, width))


def free_bytes(setup: Setup) -> int:
  """The memory that is free for a population on this process's devices, in bytes.

  Args:
    setup: a population.

  Returns:
    Bytes: of the accelerators together, or of the host where the devices are CPUs; its share of
    them where the host has several processes.
  """
  devices = [d for d in setup.mesh.devices.flat if d.process_index == jax.process_index()]
  stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
  if stats and "bytes_limit" in stats:
    return len(devices) * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
  sharing = 1
  if jax.process_count() > 1:
    host = np.uint32(zlib.crc32(platform.node().encode()))
    sharing = int(np.sum(multihost_utils.process_allgather(host) == host))
  return _host_bytes() // sharing


def _host_bytes() -> int:
  try:  # pages that hold cached files count as free
    with open("/proc/meminfo", encoding="ascii") as file:
      known = dict(line.split(":", 1) for line in file)
    return int(known["MemAvailable"].split()[0]) * 1024
  except (OSError, KeyError, ValueError):
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
