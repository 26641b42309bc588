"""The order of batches is a function of (seed, step); feeds hand over just those rows."""

import jax
import numpy as np
import pytest

from ibjax.data import feed, order
from ibjax.data.source import from_arrays
from ibjax.train.mesh import make_mesh
from tests.helpers import tiny_setup, train


def source(n=50):
  x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
  y = np.arange(n) % 4
  return from_arrays("t", {"train": (x, y), "test": (x[:7], y[:7])}, fingerprint="f")


def test_an_epoch_visits_each_row_once_and_epochs_differ():
  epochs = [
    np.concatenate([order.batch_indices(3, e * 5 + i, 50, 10) for i in range(5)]) for e in (0, 1)
  ]
  for rows in epochs:
    assert sorted(rows) == list(range(50))
  assert not np.array_equal(*epochs)


def test_the_order_depends_on_seed_and_step_alone():
  forward = [order.batch_indices(0, s, 47, 10) for s in range(12)]
  order.permutation.cache_clear()
  backward = [order.batch_indices(0, s, 47, 10) for s in reversed(range(12))][::-1]
  assert np.array_equal(forward, backward)
  assert not np.array_equal(forward[0], order.batch_indices(1, 0, 47, 10))


def test_held_out_rows_are_disjoint_and_the_same_for_every_seed():
  rows, held = order.held_out(100, 13)
  assert len(held) == 13 and sorted([*rows, *held]) == list(range(100))
  assert np.array_equal(held, order.held_out(100, 13)[1])


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16])
def test_evaluation_covers_each_row_exactly_once(n):
  rows, mask = order.eval_batches(n, 8)
  assert sorted(rows[mask]) == list(range(n))
  assert rows.shape == mask.shape == (-(-n // 8), 8)


@pytest.mark.parametrize("kind", [feed.ResidentFeed, feed.StreamedFeed])
@pytest.mark.parametrize("devices", [1, 2])
def test_feeds_hand_over_the_rows_of_the_order(kind, devices):
  split = source().splits["train"]
  mesh = make_mesh({"population": 1, "data": -1, "model": 1}, jax.devices()[:devices])
  opened = kind(split, mesh, seed=1, batch_size=10, depth=4)
  chunks = [(0, 4), (4, 2), (6, 4)]
  for (start, count), table in zip(chunks, opened.tables(iter(chunks)), strict=True):
    for i in range(count):
      batch = feed.batch_at(opened.data, table, i)
      expected = split.read(order.batch_indices(1, start + i, 50, 10))
      np.testing.assert_array_equal(batch["x"], expected["x"])
      np.testing.assert_array_equal(batch["y"], expected["y"])
      assert batch["mask"].all()


def test_eval_feed_counts_each_example_once():
  mesh = make_mesh({"population": 1, "data": -1, "model": 1}, jax.devices()[:1])
  opened = feed.EvalFeed(source().splits["test"], mesh, batch_size=4, resident=True)
  for _ in range(2):  # the second time from what was kept
    rows = [np.asarray(b["x"])[np.asarray(b["mask"])] for b in opened]
    np.testing.assert_array_equal(
      np.concatenate(rows), source().splits["test"].read(np.arange(7))["x"]
    )


def test_streamed_and_resident_runs_are_equal_bit_for_bit(tmp_path):
  runs = [
    train(tiny_setup(data__placement=placement, train__duration="30 steps"), tmp_path / placement)
    for placement in ("resident", "streamed")
  ]
  assert runs[0] == runs[1]


def test_scaling_of_integers_and_of_nothing_else():
  x = np.array([[0, 51, 255]], np.uint8)
  np.testing.assert_allclose(feed.to_float(x, (0.0, 1.0)), [[0.0, 0.2, 1.0]], rtol=1e-6)
  np.testing.assert_array_equal(feed.to_float(np.float32([5.0]), (0.0, 1.0)), [5.0])
