"""Binning against counting by numpy, and against the conventions of the papers it serves."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.estimators.base import states
from ibjax.estimators.binning.adaptive_bins import adaptive_bins
from ibjax.estimators.binning.fixed_bins import fixed_bins


def counted(*columns):
  """Entropy in nats of the rows of integer columns, by numpy."""
  rows = np.column_stack(columns)
  p = np.unique(rows, axis=0, return_counts=True)[1] / len(rows)
  return -np.sum(p * np.log(p))


def draw(n=500, d=3, seed=0):
  return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("d", [1, 2, 7, 300])
def test_hashed_rows_are_counted_as_numpy_counts_them(d):
  rng = np.random.default_rng(d)
  codes = rng.integers(-3, 3, size=(400, d)).astype(np.int32)
  codes = codes[rng.integers(0, 120, 400)]
  codes[:50, -1] += 2**30
  nats, alone = states.entropy(codes)
  np.testing.assert_allclose(nats, counted(codes), rtol=1e-6)
  counts = np.unique(codes, axis=0, return_counts=True)[1]
  np.testing.assert_allclose(alone, np.sum(counts == 1) / 400, rtol=1e-6)


def test_rows_that_differ_in_order_sign_or_one_column_are_told_apart():
  rows = [[1, 2, 3], [3, 2, 1], [-1, 2, 3], [1, -2, 3], [0, 0, 0], [0, 0, 1], [2, 1, 3], [1, 1, 4]]
  nats, alone = states.entropy(np.array(rows, np.int32))
  np.testing.assert_allclose(nats, math.log(8), rtol=1e-6)
  assert alone == 1.0
  grid = np.stack(np.meshgrid(*[np.arange(-32, 32)] * 3), -1).reshape(-1, 3).astype(np.int32)
  np.testing.assert_allclose(states.entropy(grid)[0], math.log(64**3), rtol=1e-6)


def test_width_is_the_convention_of_saxe():
  x, labels = draw(), np.arange(500) % 3
  codes = np.floor(x / 0.5).astype(int)
  np.testing.assert_allclose(fixed_bins(0.5)(x).nats, counted(codes), rtol=1e-5)
  expected = counted(codes) + counted(labels) - counted(codes, labels)
  np.testing.assert_allclose(fixed_bins(0.5)(x, labels).nats, expected, rtol=1e-4)


def test_edges_are_the_convention_of_shwartz_ziv_without_the_wrap_round():
  x = np.tanh(3 * draw(d=2))
  x[:20] = 1.0  # a saturated tanh: exactly the last edge
  codes = np.digitize(x, np.linspace(-1, 1, 30)) - 1
  assert codes.max() == 29 and codes.min() >= 0
  np.testing.assert_allclose(fixed_bins(edges=30)(x).nats, counted(codes), rtol=1e-5)
  # Below the first edge and above the last are two states.
  apart = np.array([[-2.0], [2.0], [-3.0], [3.0]])
  np.testing.assert_allclose(fixed_bins(edges=30)(apart).nats, math.log(2), rtol=1e-6)


def test_edges_over_the_range_of_the_layer_follow_its_scale():
  x = np.maximum(draw(), 0.0)
  one, other = (fixed_bins(edges=8, low=None, high=None)(s * x).nats for s in (1.0, 64.0))
  assert one == other > 1.0


def test_a_bin_edge_between_two_float64_values_stays_there():
  x = np.array([1.0 - 1e-12, 1.0, 1.0 + 1e-12, 1.5])
  np.testing.assert_allclose(fixed_bins(1.0)(x).nats, math.log(4) - 0.75 * math.log(3), rtol=1e-6)


def test_values_of_any_size_are_binned():
  x = np.array([1e15, -1e15, 1e15, 0.0])
  np.testing.assert_allclose(fixed_bins(1e-3)(x).nats, 1.5 * math.log(2), rtol=1e-6)


def test_rows_alone_in_their_bin_are_a_warning():
  codes = {note.code: note.text for note in fixed_bins(1e-3)(draw()).warnings}
  assert "log n" in codes["alone"]
  labels = np.arange(500) % 2
  assert "H(Y)" in {n.code: n.text for n in adaptive_bins()(draw(d=5), labels).warnings}["alone"]
  assert "alone" not in [note.code for note in fixed_bins(2.0)(draw()).warnings]


def released_edges(values, low, count):
  """EBAB's edges, written from the description of the released code."""
  distinct = np.unique(values)
  distinct = distinct[distinct != low]
  m = len(distinct)
  return np.array([low, *(distinct[k * m // count] for k in range(count)), distinct[-1]])


@pytest.mark.parametrize("count", [1, 7, 30])
@pytest.mark.parametrize("low", [0.0, -1.000001])
def test_adaptive_edges_are_those_of_the_released_code(count, low):
  x = draw(d=4).astype(np.float32)
  x = np.maximum(x, 0) if low == 0 else np.tanh(x)
  codes = np.digitize(x, released_edges(x, low, count))
  found = adaptive_bins(count, low)(x)
  np.testing.assert_allclose(found.nats, counted(codes), rtol=1e-5)
  labels = np.arange(500) % 4
  expected = counted(codes) + counted(labels) - counted(codes, labels)
  np.testing.assert_allclose(adaptive_bins(count, low)(x, labels).nats, expected, atol=1e-4)


def test_adaptive_bins_hold_the_bins_of_one_unit_equal():
  nats = adaptive_bins(10)(draw(2000, 1)).nats
  np.testing.assert_allclose(nats, math.log(10), atol=0.01)


def test_adaptive_bins_do_not_see_an_increasing_function():
  x = draw()
  assert adaptive_bins(12)(x).nats == adaptive_bins(12)(np.exp(x)).nats
  assert adaptive_bins(12)(x).nats != adaptive_bins(12)(np.abs(x)).nats


def test_binning_traces_and_maps():
  layers = np.stack([draw(seed=0), 3 * draw(seed=1)]).astype(np.float32)
  for estimator in (fixed_bins(0.5), fixed_bins(edges=9), adaptive_bins(6)):
    found = jax.vmap(lambda x, e=estimator: e.value(x, None, None, None).nats)(layers)
    np.testing.assert_allclose(found, [estimator(x).nats for x in layers], rtol=1e-6)


def test_bins_refuse_what_makes_no_sense():
  for wrong in (
    lambda: fixed_bins(width=0.0),
    lambda: fixed_bins(edges=1),
    lambda: fixed_bins(edges=5, low=1.0, high=1.0),
    lambda: adaptive_bins(0),
    lambda: adaptive_bins(5, low=0.0)(draw()),
  ):
    with pytest.raises(InputError, match=r"expected|below"):
      wrong()
