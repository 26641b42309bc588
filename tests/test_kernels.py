"""Estimators by kernels: bounds, densities and dependence, against dense float64 computations."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from ibjax.core.errors import InputError
from ibjax.estimators.base import kernels
from ibjax.estimators.kernel.adaptive_kde import adaptive_kde
from ibjax.estimators.kernel.pairwise import pairwise


def draw(n=130, d=3, seed=0):
  return np.random.default_rng(seed).normal(size=(n, d))


def dense_distances(x):
  return ((x[:, None] - x[None]) ** 2).sum(-1)


# Distances and bandwidths.


@pytest.mark.parametrize("d", [3, 40])
def test_distances_are_those_of_differences_and_never_negative(d):
  x = 1e-3 * draw(20, d) + 1.0
  found = kernels.squared_distances(kernels.centre(x), kernels.centre(x))
  np.testing.assert_allclose(found, dense_distances(x), rtol=1e-4, atol=1e-10)
  assert np.min(found) >= 0


def test_the_median_rule_is_a_distance_not_its_square():
  x = draw(400, 8)
  distances = np.sqrt(dense_distances(x)[np.triu_indices(400, 1)])
  for scale in (1.0, 10.0):
    found = kernels.median_distance(kernels.centre(scale * x))
    np.testing.assert_allclose(found, scale * np.median(distances), rtol=1e-5)
  many = kernels.median_distance(kernels.centre(draw(5000, 8, seed=1)))
  np.testing.assert_allclose(many, np.median(distances), rtol=0.02)


def test_the_median_rule_of_mostly_equal_rows_is_not_zero():
  x = np.zeros((10, 1))
  x[0] = 5.0
  np.testing.assert_allclose(kernels.median_distance(jnp.asarray(x)), 5 * 9 / 45, rtol=1e-6)
  assert kernels.median_distance(jnp.zeros((10, 1))) == 1.0


# The pairwise bounds.


def dense_pairwise(x, labels, variance, spread):
  near = np.exp(-dense_distances(x) / (spread * variance))
  outer = np.log(near.mean(1))
  if labels is None:
    return -outer.mean()
  same = labels[:, None] == labels
  return np.mean(np.log((near * same).sum(1) / same.sum(1)) - outer)


@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize(("bound", "spread"), [("upper", 2), ("lower", 8)])
@pytest.mark.parametrize("labelled", [False, True])
def test_pairwise_in_tiles_on_any_number_of_devices_is_the_dense_value(d, bound, spread, labelled):
  x = draw(d=d) + 100.0
  labels = (x[:, 0] > 100).astype(int) + 2 * (x[:, 1] > 100) if labelled else None
  variance = d / spread
  expected = dense_pairwise(x, labels, variance, spread)
  assert 0.05 < expected < math.log(len(x)) - 0.5
  for devices in (1, 8):
    estimate = pairwise(variance, bound, block_size=48, devices=devices)(x, labels)
    np.testing.assert_allclose(estimate.nats, expected, rtol=2e-5)
    assert estimate.bound == ("neither" if labelled else bound)


def test_pairwise_bounds_enclose_the_information_by_quadrature():
  x = np.array([0.0, 0.7, 1.5, 4.0, 4.2])
  variance = 0.3

  def density(t):
    return np.mean(np.exp(-((t - x) ** 2) / (2 * variance))) / math.sqrt(2 * math.pi * variance)

  entropy = integrate.quad(lambda t: -density(t) * math.log(density(t)), -8, 12, limit=200)[0]
  truth = entropy - 0.5 * math.log(2 * math.pi * math.e * variance)
  lower, upper = (pairwise(variance, bound)(x).nats for bound in ("lower", "upper"))
  assert lower < truth < upper
  assert upper - lower < 0.6


def test_the_variance_may_be_traced_and_mapped_over():
  x = draw(40)
  variances = jnp.array([0.1, 1.0])
  found = jax.vmap(lambda v: pairwise(v, devices=1).value(x, None, None, None).nats)(variances)
  for one, variance in zip(found, (0.1, 1.0)):
    np.testing.assert_allclose(one, dense_pairwise(x, None, variance, 2), rtol=1e-5)


def test_pairwise_says_when_the_noise_makes_every_sample_a_state():
  notes = {note.code: note.text for note in pairwise(1e-6)(draw(30)).warnings}
  assert "log n" in notes["saturated"]
  assert "saturated" not in [note.code for note in pairwise(1.0)(draw(30)).warnings]
  codes = [note.code for note in pairwise(1e-5)(100 * draw(30, 40)).warnings]
  assert "precision" in codes


def test_pairwise_refuses_a_variance_of_zero_and_an_unknown_bound():
  with pytest.raises(InputError, match="greater than 0"):
    pairwise(0.0)
  with pytest.raises(InputError, match="upper"):
    pairwise(bound="uper")


@pytest.mark.parametrize("activity", ["maximum", "std"])
def test_adaptive_noise_follows_the_scale_of_the_layer(activity):
  x = np.maximum(draw(60, 4), 0.0)
  labels = (x[:, 0] > 0.2).astype(int)
  estimator = adaptive_kde(0.1, activity)
  for y in (None, labels):
    nats = [estimator(scale * x, y).nats for scale in (1e-4, 1.0, 1e4)]
    assert 0.1 < nats[0] < math.log(60) - 0.1
    np.testing.assert_allclose(nats, nats[0], rtol=1e-4)
  size = np.abs(x).max() if activity == "maximum" else np.sqrt(x.var(0).mean())
  expected = dense_pairwise(x, None, (0.1 * size) ** 2, 2)
  np.testing.assert_allclose(estimator(x).nats, expected, rtol=1e-4)
