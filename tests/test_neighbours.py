"""The search of neighbours: trees, sorting and tiles agree; its estimators against others."""

import numpy as np
import pytest
from scipy.special import gammaln
from sklearn.feature_selection import _mutual_info

from ibjax.core.errors import InputError
from ibjax.estimators.base import neighbours, samples
from ibjax.estimators.base.marginals import rescale
from ibjax.estimators.base.warn import label_entropy
from ibjax.estimators.discrete.discrete_information import discrete_information
from ibjax.estimators.neighbours.conditional_ksg import conditional_ksg
from ibjax.estimators.neighbours.kozachenko_leonenko import _weights, kozachenko_leonenko
from ibjax.estimators.neighbours.ksg import ksg
from ibjax.estimators.neighbours.lnc import lnc
from ibjax.estimators.neighbours.mixture import mixture
from ibjax.estimators.neighbours.ross import ross


def points(n, d, lattice=False, seed=0):
  values = np.random.default_rng(seed).normal(size=(n, d))
  return np.round(4 * values) if lattice else values


def plain(estimator, *given):
  """The value alone, without an interval."""
  return float(
    estimator.value(*samples.check(estimator, *given, *[None] * (3 - len(given)))[0], None).nats
  )


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


def test_a_tree_is_not_slowed_by_ties():
  # Half of the rows are one of two values; a tree of them all would meet them one by one.
  array = points(40_000, 2)
  array[::2] = np.array([[1.0, 0.0], [1.0, 2.0]])[np.arange(20_000) % 2]
  distance, index = neighbours.nearest(array, 3, search="tree")
  assert (distance[::2] == 0).all() and (array[index[::2]] == array[::2, None]).all()
  assert all(len({i, *index[i]}) == 4 for i in range(200))
  some = np.arange(1, 400, 2)
  full = np.abs(array[some, None] - array).max(-1)
  full[np.arange(len(some)), some] = np.inf
  np.testing.assert_allclose(distance[some], np.sort(full, axis=1)[:, :3], rtol=1e-12)


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
    ours = plain(ksg(k=k, transform="none", search=search), x, y)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("n", [1000, 100_000])
def test_a_constant_feature_never_exceeds_the_entropy_of_a_rare_class(n):
  y = (np.arange(n) < 100).astype(int)
  found = plain(ross(), np.full(n, 0.1), y)
  assert found <= label_entropy(y)
  assert abs(found) < 3 / n * len(np.unique(y))


def test_ross_is_scikit_learns_without_ties():
  x = points(300, 1)[:, 0]
  y = np.random.default_rng(1).integers(0, 3, size=300)
  theirs = _mutual_info._compute_mi_cd(x, y, 3)
  assert plain(ross(transform="none"), x + y, y) == pytest.approx(
    _mutual_info._compute_mi_cd(x + y, y, 3), rel=1e-12
  )
  assert max(plain(ross(transform="none"), x, y), 0.0) == pytest.approx(theirs, abs=1e-12)


def test_a_class_of_one_row_is_left_out_and_told():
  x = points(101, 1)
  y = np.append(np.arange(100) % 2, 2)
  found = ross()(x, y)
  assert "lone_rows" in {note.code for note in found.warnings}
  assert found.nats == pytest.approx(plain(ross(transform="none"), x[:100], y[:100]), abs=1e-12)


def test_mixture_without_ties_is_ksg_and_with_nothing_else_nearly_plug_in():
  x = points(400, 2)
  y = x[:, :1] + points(400, 1, seed=1)
  assert plain(mixture(), x, y) == pytest.approx(plain(ksg(), x, y), rel=1e-12)
  a = np.random.default_rng(2).integers(0, 3, size=2000)
  b = (a + np.random.default_rng(3).integers(0, 2, size=2000)) % 3
  plug_in, corrected = (plain(discrete_information(c), a, b) for c in ("plug_in", "miller_madow"))
  assert plain(mixture(), a, b) == pytest.approx(corrected, abs=0.1 * (plug_in - corrected))


def test_labels_have_no_order_for_mixture():
  a = np.random.default_rng(2).integers(0, 5, size=300)
  x = a[:, None] + 0.3 * points(300, 1)
  shuffled = np.array([3, 0, 4, 1, 2])[a]
  assert plain(mixture(), shuffled, x) == pytest.approx(plain(mixture(), a, x), rel=1e-12)


def test_conditional_information_is_zero_given_what_joins_them():
  z = points(500, 1)
  x, y = z + points(500, 1, seed=1), z + points(500, 1, seed=2)
  assert plain(ksg(), x, y) > 0.08
  assert abs(plain(conditional_ksg(), x, y, z)) < 0.05
  # The chain rule, each side by its own counts.
  both = plain(ksg(k=5), x, np.concatenate([y, z], axis=1))
  parts = plain(ksg(k=5), x, z) + plain(conditional_ksg(k=5), x, y, z)
  assert both == pytest.approx(parts, abs=0.05)


def test_lnc_corrects_where_ksg_fails():
  x = points(300, 1)
  y = x + 1e-5 * points(300, 1, seed=1)
  truth = 0.5 * np.log1p(1e10)
  assert plain(ksg(k=5), x, y) < truth - 5
  found = lnc()(x, y)
  assert found.nats == pytest.approx(truth, abs=0.5)
  assert found.diagnostics["corrected_frac"] > 0.99
  independent = lnc()(x, points(300, 1, seed=2))
  assert independent.diagnostics["corrected_frac"] < 0.05
  with pytest.raises(InputError, match="k > 5"):
    lnc()(points(50, 3), points(50, 2))


def test_weights_of_entropy_meet_their_conditions():
  for k, d in ((20, 4), (30, 9), (12, 2)):
    w = _weights(k, d)
    j = np.arange(1, k + 1)
    assert w.sum() == pytest.approx(1)
    for order in range(1, d // 4 + 1):
      assert w @ np.exp(gammaln(j + 2 * order / d) - gammaln(j)) == pytest.approx(0, abs=1e-9)
    assert set(np.flatnonzero(w) + 1) <= {i * k // d for i in range(1, d + 1)}
  with pytest.raises(InputError, match="conditions"):
    kozachenko_leonenko(k=1, weighted=True)(points(50, 8))


def test_entropy_follows_the_units_of_each_column():
  x = points(300, 2)
  moved = x * [3.0, 0.1] + 7.0
  for norm in neighbours.NORMS:
    h = kozachenko_leonenko(norm=norm)
    assert plain(h, moved) - plain(h, x) == pytest.approx(np.log(0.3), abs=1e-9)


def test_intervals_need_rows_for_two_parts():
  x, y = points(38, 1), points(38, 1, seed=1)
  few, enough = ksg()(x, y), ksg()(*(points(60, 1, seed=s) for s in (0, 1)))
  assert np.isnan(few.lower) and "too few" in few.diagnostics["interval"]
  assert enough.lower < enough.nats < enough.upper
