"""Spectral entropies, information and dimensions against all eigenvalues in float64."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.estimators.base import spectrum
from ibjax.estimators.spectral.diffusion_spectral_entropy import diffusion_spectral_entropy
from ibjax.estimators.spectral.diffusion_spectral_information import (
  diffusion_spectral_information,
)
from ibjax.estimators.spectral.effective_dimension import effective_dimension
from ibjax.estimators.spectral.local_rank import local_rank

AT_160 = diffusion_spectral_entropy(sigma=0.5)


def draw(n=160, d=2, seed=0):
  return np.random.default_rng(seed).normal(size=(n, d))


def gram(x, sigma):
  return np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / (2 * sigma**2))


def spectral_entropy(eigenvalues, t=1.0):
  p = np.abs(eigenvalues) ** t
  p = p[p > 0] / p.sum()
  return -np.sum(p * np.log(p))


# The sum over eigenvalues without the matrix.


@pytest.mark.parametrize("decay", [0.5, 0.97, 1.0])
def test_sums_over_eigenvalues_without_the_matrix(decay):
  n = 150
  basis = np.linalg.qr(draw(n, n))[0]
  eigenvalues = np.maximum(decay ** np.arange(n), 1e-9)
  matrix = jnp.asarray(basis * eigenvalues @ basis.T, jnp.float32)

  def functions(values):
    safe = jnp.maximum(values, 1e-12)
    return jnp.stack([-values * jnp.log(safe), values**3, jnp.sqrt(values)], axis=-1)

  traces = jnp.array([eigenvalues.sum(), (eigenvalues**2).sum()])
  run = jax.jit(
    lambda key: spectrum.sums(lambda v: matrix @ v, functions, n, traces, key, rank=24, probes=16)
  )
  found, covariance = jax.vmap(run)(jax.random.split(jax.random.key(0), 12))
  expected = [np.sum(f) for f in (-eigenvalues * np.log(eigenvalues), eigenvalues**3)]
  np.testing.assert_allclose(found[:, :2].mean(0), expected, rtol=2e-3, atol=2e-3)
  spread, said = found[:, :2].std(0), np.sqrt(np.diagonal(covariance.mean(0))[:2])
  noisy = spread > 1e-3
  np.testing.assert_allclose(spread[noisy] / said[noisy], 1.0, atol=0.8)
  assert noisy.any() == (decay == 0.97)


# Diffusion spectral entropy.


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("t", [1.0, 3.0])
def test_spectral_entropy_is_that_of_the_walk(alpha, t):
  x = draw() + 50.0
  weights = gram(x, 0.5)
  density = weights.sum(1)
  weights = weights / np.outer(density, density) ** alpha
  walk = weights / weights.sum(1, keepdims=True)  # another matrix with the same eigenvalues
  expected = spectral_entropy(np.linalg.eigvals(walk).real, t)
  estimator = diffusion_spectral_entropy(0.5, t, alpha)
  np.testing.assert_allclose(estimator(x).nats, expected, atol=2e-4)
  if alpha:
    plain = np.linalg.eigvals(gram(x, 0.5) / density).real
    assert abs(expected - spectral_entropy(plain, t)) > 5e-4, "alpha changes the value"


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_estimated_spectral_entropy_is_near_the_exact_one(sigma):
  x = draw()
  exact = diffusion_spectral_entropy(sigma)(x).nats
  found = diffusion_spectral_entropy(sigma, exact_up_to=100, rank=32, block_size=48, devices=1)(x)
  np.testing.assert_allclose(found.nats, exact, atol=0.01)
  error = float(found.diagnostics["approximation_std_nats"])
  assert abs(found.nats - exact) < 4 * error + 1e-3 < 0.05


def test_estimated_spectral_entropy_is_the_same_on_eight_devices():
  sizes = dict(exact_up_to=10, rank=8, probes=4, steps=3, block_size=16)
  x = draw(100)
  one, eight = (diffusion_spectral_entropy(0.5, **sizes, devices=k)(x).nats for k in (1, 8))
  np.testing.assert_allclose(one, eight, rtol=2e-5)


def test_sigma_is_a_standard_deviation():
  x = draw()
  scaled = diffusion_spectral_entropy(sigma=5.0)(10 * x).nats
  np.testing.assert_allclose(scaled, AT_160(x).nats, rtol=1e-5)


def test_time_fades_small_eigenvalues():
  values = [diffusion_spectral_entropy(0.5, t)(draw()).nats for t in (1.0, 2.0, 8.0)]
  assert values[0] > values[1] > values[2] > 0


def test_spectral_entropy_refuses_what_makes_no_sense():
  for wrong in (dict(sigma=0.0), dict(t=0.5), dict(alpha=1.5), dict(probes=2)):
    with pytest.raises(InputError, match="expected"):
      diffusion_spectral_entropy(**wrong)


# Diffusion spectral information.


def test_spectral_information_tells_labels_that_matter_from_those_that_do_not():
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 4, 200)
  x = 10.0 * np.eye(4)[labels] + 0.1 * rng.normal(size=(200, 4))
  estimator = diffusion_spectral_information(sigma=1.0)
  np.testing.assert_allclose(estimator(x, labels).nats, math.log(4), atol=0.05)
  np.testing.assert_allclose(estimator(x, rng.permutation(labels)).nats, 0.0, atol=0.05)
  one = estimator(x, np.zeros(200, int))
  np.testing.assert_allclose(one.nats, 0.0, atol=1e-5)
  np.testing.assert_allclose(
    one.diagnostics["entropy_nats"], diffusion_spectral_entropy(1.0)(x).nats, rtol=1e-5
  )


def test_spectral_information_takes_the_value_of_the_definition():
  rng = np.random.default_rng(1)
  labels, x = np.arange(60) % 3, rng.normal(size=(60, 2))
  x[:, 0] += labels
  entropy = diffusion_spectral_entropy(0.5)
  within = np.mean([entropy(x[labels == label]).nats for label in range(3)])
  subsets = np.mean([entropy(x[rng.permutation(60)[:20]]).nats for _ in range(20)])
  found = diffusion_spectral_information(0.5, draws=20)(x, labels)
  np.testing.assert_allclose(found.diagnostics["conditional_nats"], within, rtol=1e-4)
  np.testing.assert_allclose(found.nats, subsets - within, atol=0.05)
  # A class too large for its eigenvalues is measured without them.
  large = diffusion_spectral_information(0.5, exact_up_to=10, devices=1)(x, labels)
  np.testing.assert_allclose(large.diagnostics["conditional_nats"], within, atol=0.02)


def test_spectral_information_groups_real_targets():
  rng = np.random.default_rng(0)
  groups = rng.integers(0, 3, 150)
  x = 10.0 * np.eye(3)[groups] + 0.05 * rng.normal(size=(150, 3))
  estimator = diffusion_spectral_information(sigma=1.0, bins=3)
  line = groups[:, None] + 0.01 * rng.normal(size=(150, 1))
  plane = np.column_stack([np.cos(2 * groups), np.sin(2 * groups)]) + 0.01 * line
  for y in (line, plane + 0.01 * rng.normal(size=plane.shape)):
    np.testing.assert_allclose(estimator(x, y).nats, math.log(3), atol=0.05)


# Effective dimension.


def test_effective_dimension_is_the_exponential_of_the_entropy_of_the_spectrum():
  x = draw(300, 6) * np.arange(1, 7) + 100.0
  expected = math.exp(spectral_entropy(np.linalg.eigvalsh(np.cov(x.T))))
  for scale in (1e-6, 1.0, 1e6):
    np.testing.assert_allclose(effective_dimension()(scale * x).nats, expected, rtol=1e-4)
  wide = draw(20, 50)
  expected = math.exp(spectral_entropy(np.linalg.eigvalsh(np.cov(wide.T)).clip(1e-300)))
  np.testing.assert_allclose(effective_dimension()(wide).nats, expected, rtol=1e-4)
  assert effective_dimension(centred=False)(x).nats < 1.1, "the mean dominates"


def test_effective_dimension_of_constant_columns_is_one():
  assert effective_dimension()(np.ones((5, 3))).nats == 1.0


# Local rank.


def test_local_rank_counts_the_active_paths_of_a_network():
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(8, 5)), rng.normal(size=(3, 8))

  def layer(x):
    return second.astype(np.float32) @ jax.nn.relu(first.astype(np.float32) @ x)

  x = rng.normal(size=(70, 5))
  active = (x @ first.T > 0).sum(1)
  jacobians = [second * (first @ one > 0) @ first for one in x]
  expected = np.array(
    [np.linalg.matrix_rank(j, tol=1e-3 * np.linalg.norm(j, 2)) for j in jacobians]
  )
  assert (expected <= np.minimum(active, 3)).all() and len(set(expected)) > 1
  estimator = local_rank(layer, batch_size=16)
  found = estimator.value(x, None, None, None)
  np.testing.assert_array_equal(found.local, expected)
  np.testing.assert_allclose(estimator(x).nats, expected.mean(), rtol=1e-6)
  largest = np.mean([np.linalg.norm(j, 2) for j in jacobians])
  np.testing.assert_allclose(estimator(x).diagnostics["largest"], largest, rtol=1e-4)


def test_the_relative_threshold_does_not_see_the_size_of_the_weights():
  weights = jnp.diag(jnp.array([1.0, 0.1, 0.01]))
  x = np.ones((4, 3))
  for scale in (1.0, 100.0):
    assert local_rank(lambda v, s=scale: s * weights @ v, relative=0.05)(x).nats == 2.0
  fixed = [local_rank(lambda v, s=s: s * weights @ v, absolute=0.5)(x).nats for s in (1.0, 100.0)]
  assert fixed == [1.0, 3.0]


def test_local_rank_refuses_a_function_whose_output_is_no_vector():
  with pytest.raises(InputError, match="shape"):
    local_rank(jnp.sum)(np.ones((2, 3)))
