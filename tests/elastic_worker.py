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
from ibjax.data import feed, order, source
from ibjax.data.source import Split
from ibjax.train import loop
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.mesh import make_mesh
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build
from tests.helpers import tiny

SHORT = dict(
  train__duration="12 steps",
  train__log_every="4 steps",
  eval__every="8 steps",
  checkpoint__every="4 steps",
  eval__samples=2,
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


def check_data(split, batch_size):
  """Each process reads its share of the rows, and the batches are those of the order."""
  read = []

  def counting(rows):
    read.append(np.array(rows))
    return split.read(rows)

  counted = Split(n=split.n, read=counting, nbytes=split.nbytes)
  mesh = make_mesh({"population": 1, "data": -1, "model": 1})
  count = jax.process_count()

  def seen():
    rows = np.unique(np.concatenate(read))
    read.clear()
    return rows

  options = dict(seed=0, batch_size=batch_size, depth=2)
  resident = feed.ResidentFeed(counted, mesh, **options)
  mine = seen()
  assert len(mine) <= -(-split.n // mesh.size) * jax.local_device_count(), mine
  every = split.read(np.arange(split.n))
  for name, value in resident.data.items():
    np.testing.assert_array_equal(value.addressable_data(0), every[name])
  chunks = [(0, 2), (2, 1)]
  tables = feed.StreamedFeed(counted, mesh, **options).tables(iter(chunks))
  for (first, steps), table in zip(chunks, tables, strict=True):
    for i in range(steps):
      rows = order.batch_indices(0, first + i, split.n, batch_size)
      for shard in table["x"].addressable_shards:
        np.testing.assert_array_equal(shard.data[i], every["x"][rows[shard.index[1]]])
  assert len(seen()) <= 3 * batch_size // count
  batches = list(feed.EvalFeed(counted, mesh, batch_size=batch_size, resident=False))
  assert len(batches) == -(-split.n // batch_size)
  assert len(seen()) <= len(batches) * batch_size // count
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
  toy = Split(
    n=1003,
    read=lambda rows: {"x": np.float32(rows)[:, None] * 10, "y": np.int32(rows)},
    nbytes=0,
  )
  sources = {"toy": toy}
  if (data := pathlib.Path(folder) / "data").is_dir():
    sources["tfds"] = source.load("tfds:toy:1.0.0", data).splits["train"]
  for name, split in sources.items():
    print(f"read {name}:", *check_data(split, 16))
  check_refusals(pathlib.Path(folder))


if __name__ == "__main__":
  main(*sys.argv[1:])
