"""Hard clusterings against all partitions of an alphabet, and convex prices in closed form."""

import itertools

import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.exact import convex_ib
from ibjax.exact.agglomerative_ib import agglomerative_ib
from ibjax.exact.deterministic_ib import deterministic_ib
from ibjax.exact.discrete_ib import curve, discrete_ib
from ibjax.exact.joint import information, one_hot, place
from ibjax.exact.partitions import best_partition, partitions
from ibjax.exact.sequential_ib import sequential_ib

PRICES = {
  "squared": convex_ib.squared(),
  "power": convex_ib.power(0.5),
  "exponential": convex_ib.exponential(1.5),
}


def table(seed, kx=8, ky=5):
  return np.random.default_rng(seed).dirichlet(np.full(kx * ky, 0.5)).reshape(kx, ky)


def kept(joint, labels):
  return place(joint, one_hot(labels, len(joint))).relevance_nats


def test_partitions_are_all_there_once():
  found = partitions(8)
  assert found.shape == (4140, 8) and len(np.unique(found, axis=0)) == 4140  # Bell(8)
  assert [len(partitions(n)) for n in range(1, 8)] == [1, 2, 5, 15, 52, 203, 877]
  by_count = np.bincount(found.max(axis=1) + 1)
  assert by_count.tolist() == [0, 1, 127, 966, 1701, 1050, 266, 28, 1]  # Stirling numbers
  with pytest.raises(InputError, match="deterministic_ib"):
    partitions(12)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_deterministic_bottleneck_is_the_best_of_all_partitions(seed):
  joint, betas = table(seed), np.array([0.0, 1.2, 2.0, 3.0, 5.0, 10.0, 40.0])
  found = deterministic_ib(joint, betas, restarts=8)
  everything = place(joint, one_hot(partitions(8), 8))
  for beta, value, labels in zip(betas, found.lagrangian_nats, found.labels):
    best = np.min(everything.entropy_nats - beta * everything.relevance_nats)
    assert value == pytest.approx(best, abs=1e-9)
    best = best_partition(joint, beta)
    assert kept(joint, labels) == pytest.approx(kept(joint, best), abs=1e-9)
  expected = [kept(joint, row) for row in found.labels]
  np.testing.assert_allclose(found.relevance_nats, expected, atol=1e-12)
  np.testing.assert_allclose(
    found.lagrangian_nats, found.entropy_nats - betas * found.relevance_nats
  )
  assert found.labels[0].max() == 0 and len(np.unique(found.labels[-1])) > 4


@pytest.mark.parametrize("clusters", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sequential_clustering_keeps_the_most(seed, clusters):
  joint = table(seed)
  best = kept(joint, best_partition(joint, np.inf, clusters))
  labels = sequential_ib(joint, clusters, restarts=512)
  assert labels.max() < clusters
  assert kept(joint, labels) == pytest.approx(best, abs=1e-12)
  # At finite beta it minimises the deterministic Lagrangian.
  plane = place(joint, one_hot(sequential_ib(joint, 8, beta=4.0, restarts=64), 8))
  exact = deterministic_ib(joint, np.array([4.0])).lagrangian_nats[0]
  assert plane.entropy_nats - 4.0 * plane.relevance_nats == pytest.approx(exact, abs=1e-9)


def test_merging_takes_the_cheapest_pair_each_time():
  joint = table(5)
  path = agglomerative_ib(joint)
  assert [len(np.unique(row)) for row in path] == list(range(1, 9))
  for coarse, fine in itertools.pairwise(path):
    pairs = np.unique(np.stack([fine, coarse]), axis=1)
    assert pairs.shape[1] == len(np.unique(fine))  # each fine cluster lies in one coarse one
    merges = []
    for i in range(fine.max() + 1):
      merges += [kept(joint, np.where(fine == j, i, fine)) for j in range(i)]
    assert kept(joint, coarse) == pytest.approx(max(merges), abs=1e-12)
  np.testing.assert_allclose(kept(joint, path[-1]), information(joint), rtol=1e-12)
  # The first merge and the last are the best of all partitions of that size by definition.
  assert kept(joint, path[6]) == pytest.approx(kept(joint, best_partition(joint, np.inf, 7)))
  # Against the entropy, merges of what is rare come first.
  costs = [place(joint, one_hot(row[6], 8)) for row in (path, agglomerative_ib(joint, 3.0))]
  plain, priced = (plane.entropy_nats - 3.0 * plane.relevance_nats for plane in costs)
  assert priced <= plain


def test_labels_and_numbers_out_of_range_are_explained():
  with pytest.raises(InputError, match="clusters is 9"):
    sequential_ib(table(0), 9)
  with pytest.raises(InputError, match="beta is 0"):
    agglomerative_ib(table(0), 0.0)
  with pytest.raises(InputError, match="beta is -2"):
    deterministic_ib(table(0), np.array([-2.0]))
  with pytest.raises(InputError, match="rows of zeros"):
    deterministic_ib(np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([2.0]))


# Convex prices.


def test_where_y_is_a_function_of_x_the_curve_is_straight_and_has_a_corner():
  """Solved as any table is: the plain Lagrangian finds both ends, and their line is the curve."""
  joint = np.zeros((6, 3))
  joint[np.arange(6), [0, 0, 1, 1, 2, 2]] = [0.3, 0.1, 0.2, 0.1, 0.2, 0.1]
  label = information(joint)  # H(Y)
  solved = discrete_ib(joint, np.array([0.5, 0.95, 1.05, 3.0, 100.0]))
  np.testing.assert_allclose(solved.rate_nats, [0, 0, label, label, label], atol=1e-6)
  rates = np.linspace(0, 1.5, 7)
  exact = convex_ib.deterministic_curve(rates, label)
  np.testing.assert_allclose(curve(solved, rates), exact, atol=1e-6)


@pytest.mark.parametrize("price", PRICES.values(), ids=PRICES)
def test_each_beta_of_a_convex_price_is_one_point(price):
  label = 0.8
  low, high = convex_ib.beta_range(price, label)
  high = min(high, 1e3)
  betas = np.geomspace(low * 1.001, high * 0.999, 25)
  rates = convex_ib.deterministic_rate(betas, price, label)
  assert np.all(np.diff(rates) < 0) and np.all((rates > 0) & (rates < label))
  grid = np.linspace(0, 2, 200_001)
  curve_values = convex_ib.deterministic_curve(grid, label)
  for beta, rate in zip(betas[::6], rates[::6]):
    best = convex_ib.convex_optimum(grid, curve_values, beta, price)
    assert grid[best] == pytest.approx(rate, abs=1e-5)
    assert convex_ib.plain_beta(beta, rate, price) == pytest.approx(1.0)  # the curve's slope
  assert convex_ib.deterministic_rate(low * 0.9, price, label) == label
  np.testing.assert_allclose(price.rate(price.slope(rates)), rates, rtol=1e-9)


def test_on_any_curve_a_convex_price_picks_the_point_of_its_slope():
  joint = table(1, 6, 4)
  betas = np.geomspace(1.0, 100.0, 60)
  solved = discrete_ib(joint, betas)
  for name, price in PRICES.items():
    for beta in (0.1, 0.3):
      best = convex_ib.convex_optimum(solved.rate_nats, solved.relevance_nats, beta, price)
      if 0 < best < len(betas) - 1 and solved.rate_nats[best] > 0:
        plain = convex_ib.plain_beta(beta, solved.rate_nats[best], price)
        assert 1 / betas[best + 1] < plain < 1 / betas[best - 1], name


def test_prices_out_of_range_are_explained():
  with pytest.raises(InputError, match="order is 0"):
    convex_ib.power(0.0)
  with pytest.raises(InputError, match="rate is -1"):
    convex_ib.exponential(-1.0)
  with pytest.raises(InputError, match="beta is 0, expected greater than 0"):
    convex_ib.deterministic_rate(np.array([0.0, 1.0]), convex_ib.squared(), 1.0)
  with pytest.raises(InputError, match="at least 0 nats"):
    convex_ib.deterministic_curve(np.array([-1.0]), 1.0)
