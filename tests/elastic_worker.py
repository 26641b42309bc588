"""One process of the runs in test_elastic.py: `python -m tests.elastic_worker KIND FOLDER STOP`,
with "PORT COUNT NUMBER" behind them for one of several processes.

It trains, from where the folder's checkpoints are, for STOP dispatches or to the end (0), and then
looks at what it holds, read and wrote. What does not hold ends it with an assertion.
"""

import pathlib
import sys

import jax
import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.data import feed
from ibjax.data.source import Split
from ibjax.train import loop
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.mesh import make_mesh
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build
from tests.helpers import tiny

SHORT = dict(
  train__duration="20 steps",
  train__log_every="5 steps",
  eval__every="10 steps",
  checkpoint__every="5 steps",
  encoder__hidden=(96, 64),
  sharding=("largest:data:64",),
)
SEEDS = (0, 1, 2)


def members(folder):
  """Three members, which no even number of devices divides."""
  return [Member(tiny(seed=seed, **SHORT), folder / str(seed), {}) for seed in SEEDS]


def stop_after(dispatches):
  """Stops training after so many dispatches in every process alike; returns what undoes that."""
  calls, seen = [], loop.StopSignal.seen

  def counted(self):
    calls.append(1)
    return len(calls) == dispatches

  loop.StopSignal.seen = counted

  def undo():
    loop.StopSignal.seen = seen

  return undo


def train(kind, folder, stop):
  """Trains "solo" or "population" in a folder, for `stop` dispatches, or to the end (0)."""
  undo = stop_after(stop)
  try:
    if kind == "population":
      train_members(members(folder), folder)
    else:
      folder.mkdir(parents=True, exist_ok=True)
      _, lines, _ = loop.train(build(tiny(**SHORT)), folder)
      lines.close()
  except loop.Stopped:
    assert stop
  finally:
    undo()


def check_state(folder):
  """Of the newest checkpoint, a process reads and wrote its own shards alone."""
  setup = build(tiny(**SHORT))
  keeper = Checkpoints(folder / "checkpoints", keep=1, best="", report=print, read_only=True)
  step, state = keeper.restore(setup.abstract)
  keeper.close()
  count = jax.process_count()
  whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  held = sum(s.data.nbytes for x in jax.tree.leaves(state) for s in x.addressable_shards)
  # What is too small to be cut is on every device.
  assert held < whole / count + 0.1 * whole, (held, whole)
  written = {
    part.name: sum(file.stat().st_size for file in part.glob("d/*"))
    for part in (folder / "checkpoints" / str(step) / "state").glob("ocdbt.process_*")
  }
  assert len(written) == count, written
  assert max(written.values()) < (1 / count + 0.15) * sum(written.values()), written


def check_data():
  """Each process reads its share of the rows, every row is read, and all devices have them all."""
  read = []

  def counting(rows):
    read.append(np.array(rows))
    return {"x": np.asarray(rows, np.float32)[:, None] * 10, "y": np.asarray(rows, np.int32)}

  n, count = 1003, jax.process_count()
  split = Split(n=n, read=counting, nbytes=0)
  mesh = make_mesh({"population": 1, "data": -1, "model": 1})

  def seen():
    rows = np.unique(np.concatenate(read))
    read.clear()
    return rows

  resident = feed.ResidentFeed(split, mesh, seed=0, batch_size=16, depth=2)
  mine = seen()
  assert len(mine) <= -(-n // mesh.size) * jax.local_device_count(), len(mine)
  np.testing.assert_array_equal(np.asarray(resident.data["y"].addressable_data(0)), np.arange(n))
  streamed = feed.StreamedFeed(split, mesh, seed=0, batch_size=16, depth=2)
  chunks = [(0, 2), (2, 1)]
  for (first, steps), table in zip(chunks, streamed.tables(iter(chunks)), strict=True):
    wanted = np.stack([feed.batch_indices(0, first + i, n, 16) for i in range(steps)])
    for shard in table["y"].addressable_shards:
      np.testing.assert_array_equal(shard.data[:steps], wanted[(slice(None), shard.index[1])])
  assert len(seen()) <= 3 * 16 // count
  evaluated = list(feed.EvalFeed(split, mesh, batch_size=200, resident=False))
  assert len(seen()) <= -(-n // count) + 200 // count
  assert len(evaluated) == 6 and evaluated[0]["x"].shape == (200, 1)
  return mine


def check_refusals(folder):
  """What cannot be shared is said before it is tried."""
  if jax.process_count() == 1:
    return
  x = np.zeros((64, 4), np.float32)
  rows = {"x_train": x, "y_train": np.arange(64) % 2, "x_test": x[:1], "y_test": np.arange(1)}
  np.savez(path := folder / f"{jax.process_index()}.npz", **rows)
  sizes = dict(data__batch_size=64, eval__batch_size=64)
  try:
    build(tiny(data__source=f"npz:{path}", **sizes))
  except ConfigError as error:
    told = f"'test' of 'npz:{path}' has 1 examples, fewer than the {jax.process_count()} processes"
    assert told in str(error) and "Start 1 to 1 processes" in str(error), error
  else:
    raise AssertionError("a split smaller than the number of processes was taken")


def main(kind, folder, stop, *joined):
  """Joins the others, trains and checks."""
  if joined:
    port, count, number = joined
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", int(count), int(number))
  for one in ("solo", "population") if kind == "all" else (kind,):
    train(one, pathlib.Path(folder) / one, int(stop))
  check_state(pathlib.Path(folder) / "solo")
  print("read", " ".join(map(str, check_data())))
  check_refusals(pathlib.Path(folder))


if __name__ == "__main__":
  main(*sys.argv[1:])
