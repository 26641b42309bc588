"""The search of neighbours: trees, sorting and tiles agree; its estimators against others."""

import numpy as np
import pytest
from sklearn.feature_selection import _mutual_info

from ibjax.core.errors import InputError
from ibjax.estimators.base import neighbours
from ibjax.estimators.base.marginals import rescale
from ibjax.estimators.neighbours.ksg import ksg


def points(n, d, lattice=False, seed=0):
  values = np.random.default_rng(seed).normal(size=(n, d))
  return np.round(4 * values) if lattice else values


def brute(array, norm):
  difference = np.abs(array[:, None] - array)
  distance = difference.max(-1) if norm == "max" else np.sqrt((difference**2).sum(-1))
  np.fill_diagonal(distance, np.inf)
  return distance


@pytest.mark.parametrize("search", ["tree", "tiles"])
@pytest.mark.parametrize("norm", neighbours.NORMS)
@pytest.mark.parametrize(("n", "d"), [(97, 1), (611, 3), (150, 37)])
def test_nearest_is_that_of_the_full_matrix(n, d, norm, search):
  array = points(n, d)
  full = brute(array, norm)
  distance, index = neighbours.nearest(array, 4, norm=norm, search=search, block_size=64)
  np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :4], rtol=1e-12)
  np.testing.assert_array_equal(index, np.argsort(full, axis=1)[:, :4])


@pytest.mark.parametrize("search", ["tree", "tiles"])
def test_a_row_is_not_its_own_neighbour_however_often_it_is_repeated(search):
  array = np.repeat(points(7, 2), 9, axis=0)
  distance, index = neighbours.nearest(array, 8, search=search, block_size=16)
  assert (distance == 0).all()
  assert (index != np.arange(63)[:, None]).all()
  assert (index // 9 == np.arange(63)[:, None] // 9).all()
  assert all(len(set(row)) == 8 for row in index)


@pytest.mark.parametrize("search", ["tree", "tiles", "auto"])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("lattice", [True, False])
@pytest.mark.parametrize("d", [1, 3])
def test_counts_are_those_of_the_full_matrix_to_the_last_tie(d, lattice, strict, search):
  array = points(300, d, lattice)
  full = brute(array, "max")
  radius = np.sort(full, axis=1)[:, 5]  # a row lies at exactly this distance
  radius[:20] = 0.0
  expected = (full < radius[:, None]) if strict else (full <= radius[:, None])
  found = neighbours.count_within(array, radius, strict=strict, search=search, block_size=50)
  np.testing.assert_array_equal(found, expected.sum(1))


def test_a_sorted_column_counts_by_the_rounded_difference():
  # Sums and differences round differently: 0.1 + 0.2 > 0.3, so the sum would miss or add a row.
  column = np.round(np.random.default_rng(1).normal(size=(2000, 1)), 2) * 1.1
  radius = np.full(2000, 0.1 * 1.1)
  for strict in (True, False):
    sorted_counts = neighbours.count_within(column, radius, strict=strict)
    tiled = neighbours.count_within(column, radius, strict=strict, search="tiles", block_size=2000)
    np.testing.assert_array_equal(sorted_counts, tiled)


def test_devices_share_the_rows_without_a_change():
  array = points(203, 3)
  alone = neighbours.nearest(array, 3, search="tiles", block_size=32, devices=1)
  shared = neighbours.nearest(array, 3, search="tiles", block_size=32, devices=8)
  for a, b in zip(alone, shared):
    np.testing.assert_array_equal(a, b)
  counts = [
    neighbours.count_within(array, alone[0][:, -1], search="tiles", block_size=32, devices=devices)
    for devices in (1, 8)
  ]
  np.testing.assert_array_equal(*counts)


def test_unknown_searches_are_refused():
  with pytest.raises(InputError, match="tiles"):
    ksg(search="tile")
  with pytest.raises(InputError, match="k is 0"):
    ksg(k=0)


@pytest.mark.parametrize("transform", ["standardize", "none"])
def test_columns_far_from_zero_keep_their_digits(transform):
  column = points(100, 1)
  moved = rescale(column + 2.0**30, transform)
  np.testing.assert_allclose(moved, rescale(column, transform), atol=1e-6)
  assert abs(moved.mean()) < 1e-15
  assert (rescale(np.full((9, 2), 0.1), transform) == 0).all()


def test_ranks_of_ties_are_their_mean():
  scores = rescale(np.array([[2.0], [1.0], [2.0], [5.0]]), "ranks")[:, 0]
  assert scores[0] == scores[2] and abs(scores[0]) < 1e-15 and scores[3] == -scores[1]


@pytest.mark.parametrize("k", [1, 3, 7])
def test_ksg_is_scikit_learns(k):
  x, y = points(400, 2).T
  y = y + x
  theirs = _mutual_info._compute_mi_cc(x, y, k)
  for search in ("tree", "tiles"):
    ours = ksg(k=k, transform="none", search=search)(x, y).nats
    assert ours == pytest.approx(theirs, rel=1e-12)
