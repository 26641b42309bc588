"""Estimators by kernels and by slices, against dense float64 computations and closed forms."""

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
from ibjax.estimators.kernel.cauchy_schwarz import cauchy_schwarz
from ibjax.estimators.kernel.hsic import hsic
from ibjax.estimators.kernel.kde import kde
from ibjax.estimators.kernel.matrix_renyi import matrix_renyi
from ibjax.estimators.kernel.normalised_hsic import normalised_hsic
from ibjax.estimators.kernel.pairwise import pairwise
from ibjax.estimators.sliced.sliced import sliced


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
  lower, upper = (pairwise(variance, bound, devices=1)(x).nats for bound in ("lower", "upper"))
  assert lower < truth < upper
  assert upper - lower < 0.6


def test_the_variance_may_be_traced_and_mapped_over():
  x = draw(40)
  variances = jnp.array([0.1, 1.0])
  found = jax.vmap(lambda v: pairwise(v, devices=1).value(x, None, None, None).nats)(variances)
  for one, variance in zip(found, (0.1, 1.0)):
    np.testing.assert_allclose(one, dense_pairwise(x, None, variance, 2), rtol=1e-5)


def test_pairwise_says_when_the_noise_makes_every_sample_a_state():
  notes = {note.code: note.text for note in pairwise(1e-6, devices=1)(draw(30)).warnings}
  assert "log n" in notes["saturated"]
  assert "saturated" not in [note.code for note in pairwise(1.0, devices=1)(draw(30)).warnings]
  codes = [note.code for note in pairwise(1e-5, devices=1)(100 * draw(30, 40)).warnings]
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
  estimator = adaptive_kde(0.1, activity, devices=1)
  for y in (None, labels):
    nats = [estimator(scale * x, y).nats for scale in (1e-4, 1.0, 1e4)]
    assert 0.1 < nats[0] < math.log(60) - 0.1
    np.testing.assert_allclose(nats, nats[0], rtol=1e-4)
  size = np.abs(x).max() if activity == "maximum" else np.sqrt(x.var(0).mean())
  expected = dense_pairwise(x, None, (0.1 * size) ** 2, 2)
  np.testing.assert_allclose(estimator(x).nats, expected, rtol=1e-4)


# Dependence by kernel matrices.

ONES = dict(sigma_x=1.0, sigma_y=1.0, devices=1)


def gaussian_pair(n, rho=0.9, seed=0):
  a, b = np.random.default_rng(seed).normal(size=(2, n))
  return a, rho * a + math.sqrt(1 - rho**2) * b


def dense_gram(x, sigma):
  return np.exp(-dense_distances(x) / (2 * sigma**2))


def dense_renyi(matrix, alpha):
  eigenvalues = np.linalg.eigvalsh(matrix / len(matrix)).clip(1e-12)
  return np.log(np.sum(eigenvalues**alpha)) / (1 - alpha)


@pytest.mark.parametrize(
  ("estimator", "truth"),
  [
    # Of Gaussian kernels of width 1, E K L = 1 / sqrt(9 - 4 r^2), E K = 1 / sqrt(3) and
    # E k(x) l(y) = 1 / sqrt(9 - r^2); the squares of a kernel are one of width 1 / sqrt(2).
    (hsic(**ONES), 5.76**-0.5 + 1 / 3 - 2 * 8.19**-0.5),
    (cauchy_schwarz(**ONES), math.log(8.19 / (3 * math.sqrt(5.76)))),
    (matrix_renyi(2.0, **ONES), math.log(2.5 / math.sqrt(2.5**2 - 3.24))),
  ],
  ids=["hsic", "cauchy_schwarz", "matrix_renyi"],
)
def test_closed_form_of_correlated_gaussians(estimator, truth):
  found = [estimator(*gaussian_pair(1000, seed=seed)).nats for seed in range(6)]
  error = np.std(found, ddof=1) / math.sqrt(6)
  np.testing.assert_allclose(np.mean(found), truth, atol=4 * error)
  assert 4 * error < 0.1 * truth


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_hsic_and_cka_in_tiles_on_any_number_of_devices_are_the_dense_values(unbiased, labelled):
  n = 90
  x = draw(n)
  y = (x[:, 0] > 0.3).astype(int) if labelled else x[:, :2] ** 2 + draw(n, 2, seed=1)
  k = dense_gram(x, 1.3)
  ell = (y[:, None] == y).astype(float) if labelled else dense_gram(y, 0.9)
  if unbiased:
    k, ell = (m - np.diag(np.diag(m)) for m in (k, ell))
    ones = np.ones(n)

    def product(a, b):
      total = np.trace(a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
      return (total - 2 * ones @ a @ b @ ones / (n - 2)) / (n * (n - 3))
  else:
    h = np.eye(n) - 1 / n

    def product(a, b):
      return np.trace(a @ h @ b @ h) / (n - 1) ** 2

  expected = product(k, ell)
  aligned = expected / math.sqrt(product(k, k) * product(ell, ell))
  for devices in (1, 8):
    options = dict(sigma_x=1.3, sigma_y=0.9, unbiased=unbiased, block_size=32, devices=devices)
    np.testing.assert_allclose(hsic(**options)(x, y).nats, expected, rtol=2e-5)
    np.testing.assert_allclose(normalised_hsic(**options)(x, y).nats, aligned, rtol=2e-5)


def test_unbiased_hsic_of_independent_samples_is_zero_on_average():
  found = [hsic(**ONES)(*np.random.default_rng(s).normal(size=(2, 40))).nats for s in range(60)]
  biased = hsic(unbiased=False, **ONES)(*np.random.default_rng(0).normal(size=(2, 40))).nats
  assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(60) < 0.3 * biased


def test_hsic_keeps_small_values_in_float32():
  n = 600
  x, y = np.random.default_rng(0).normal(size=(2, n))
  h = np.eye(n) - 1 / n
  kx, ky = (h @ dense_gram(a[:, None], 1.0) @ h for a in (x, y))
  expected = np.sum(kx * ky) / (n - 1) ** 2
  assert expected < 1e-3
  np.testing.assert_allclose(hsic(unbiased=False, **ONES)(x, y).nats, expected, rtol=2e-5)


def test_cauchy_schwarz_in_tiles_on_any_number_of_devices_is_the_dense_value():
  x, y = gaussian_pair(90)
  k, ell = dense_gram(x[:, None], 1.3), dense_gram(y[:, None], 0.7)
  cross = np.mean(k.mean(1) * ell.mean(1))
  expected = math.log(np.mean(k * ell)) + math.log(k.mean() * ell.mean()) - 2 * math.log(cross)
  for devices in (1, 8):
    found = cauchy_schwarz(1.3, 0.7, block_size=32, devices=devices)(x, y)
    np.testing.assert_allclose(found.nats, expected, rtol=2e-5)


@pytest.mark.parametrize("alpha", [1.01, 2.0])
def test_matrix_renyi_with_and_without_eigenvalues(alpha):
  n = 150
  x, y = draw(n, 2), draw(n, 2, seed=1) * 0.3
  y += x
  k, ell = dense_gram(x, 0.8), dense_gram(y, 0.8)
  parts = [dense_renyi(m, alpha) for m in (k, ell, k * ell)]
  widths = dict(sigma_x=0.8, sigma_y=0.8)
  sizes = [dict(exact_up_to=n), dict(exact_up_to=10, rank=24, block_size=64, devices=1)]
  if alpha == 2.0:  # which has one way, in tiles
    sizes = [dict(block_size=32, devices=devices) for devices in (1, 8)]
  for size, tolerance in zip(sizes, (1e-4, 1e-4 if alpha == 2.0 else 0.01)):
    found = matrix_renyi(alpha, **widths, **size)(x, y)
    names = ("entropy_x_nats", "entropy_y_nats", "entropy_joint_nats")
    np.testing.assert_allclose([found.diagnostics[k] for k in names], parts, atol=tolerance)
    np.testing.assert_allclose(found.nats, parts[0] + parts[1] - parts[2], atol=2 * tolerance)
  alone = matrix_renyi(alpha, quantity="entropy", sigma_x=0.8, devices=1)(x)
  np.testing.assert_allclose(alone.nats, parts[0], atol=1e-4)


def test_the_normalisation_of_the_hsic_bottleneck_with_a_lower_rank():
  n = 200
  x, y = (a[:, None] for a in gaussian_pair(n))
  h, parts = np.eye(n) - 1 / n, []
  for a in (x, y):
    c = h @ dense_gram(a, 1.0) @ h
    parts.append(c @ np.linalg.inv(c + 1e-3 * n * np.eye(n)))
  expected = np.trace(parts[0] @ parts[1])
  options = dict(method="bottleneck", epsilon=1e-3, **ONES)
  np.testing.assert_allclose(normalised_hsic(**options)(x, y).nats, expected, rtol=1e-4)
  lower = normalised_hsic(**options, exact_up_to=100, rank=30)(x, y)
  np.testing.assert_allclose(lower.nats, expected, rtol=1e-3)
  assert lower.diagnostics["left_out_x_frac"] < 1e-4
  labels = (x[:, 0] > 0).astype(int)
  whole = normalised_hsic(**options)(x, labels).nats
  poor = normalised_hsic(**options, exact_up_to=100, rank=3)(x, labels)
  assert poor.nats < 0.9 * whole and poor.diagnostics["left_out_x_frac"] > 0.1
  assert poor.diagnostics["left_out_y_frac"] < 1e-6


@pytest.mark.parametrize("build", [hsic, normalised_hsic])
def test_a_function_that_is_no_kernel_is_refused(build):
  x, y = draw(30), draw(30, seed=1)
  own = build(kernel=lambda a, b: (1.0 + a @ b.T) ** 2, devices=1)(x, y)
  assert math.isfinite(own.nats)
  for wrong, said in (
    (lambda a, b: jnp.exp(a @ jnp.tril(jnp.ones((3, 3))) @ b.T), "not symmetric"),
    (lambda a, b: -jnp.sqrt(kernels.squared_distances(a, b)), "not positive semidefinite"),
    (lambda a, b: jnp.sum(a * b, axis=1), r"expected finite \[30, 30\]"),
  ):
    with pytest.raises(InputError, match=said):
      build(kernel=wrong, devices=1)(x, y)
  with pytest.raises(InputError, match="gaussian"):
    build(kernel="gausian", devices=1)(x, y)


def test_a_given_kernel_is_used():
  x, y = gaussian_pair(60)
  by_name = hsic(kernel="linear", devices=1)(x, y).nats
  own = hsic(kernel=lambda a, b: 5.0 + a @ b.T, devices=1)(x, y).nats
  np.testing.assert_allclose(own, by_name, rtol=1e-4)  # a constant falls out
  wide = hsic(kernel="laplacian", **ONES)(x, y).nats
  k, ell = (np.exp(-np.abs(a[:, None] - a)) * (1 - np.eye(60)) for a in (x, y))
  total = np.sum(k * ell) + k.sum() * ell.sum() / (59 * 58) - 2 * k.sum(0) @ ell.sum(0) / 58
  np.testing.assert_allclose(wide, total / (60 * 57), rtol=1e-4)


def test_widths_that_are_not_positive_are_refused():
  for build in (hsic, normalised_hsic, cauchy_schwarz, matrix_renyi):
    for name in ("sigma_x", "sigma_y"):
      with pytest.raises(InputError, match=name):
        build(**{name: 0.0})


def test_widths_may_be_traced_and_mapped_over():
  x, y = (a[:, None] for a in gaussian_pair(50))
  for build in (hsic, cauchy_schwarz, matrix_renyi):

    def run(sigma, build=build):
      return build(sigma_x=sigma, sigma_y=sigma, devices=1).value(x, y, None, None).nats

    found = jax.vmap(run)(jnp.array([0.5, 2.0]))
    alone = [build(sigma_x=s, sigma_y=s, devices=1)(x, y).nats for s in (0.5, 2.0)]
    np.testing.assert_allclose(found, alone, rtol=1e-4)
    assert abs(found[0] - found[1]) > 1e-3


# Kernel densities.


def dense_kde(x, y, factor=1.0):
  n = len(x)
  columns = x.shape[1] + (y.shape[1] if y.ndim == 2 else 0)
  rule = factor * (4 / ((columns + 2) * n)) ** (1 / (columns + 4))

  def density(a):
    h = rule * a.std(0, ddof=1)
    near = np.exp(-dense_distances(a / h) / 2)
    np.fill_diagonal(near, 0.0)
    return near

  k = density(x)
  if y.ndim == 1:
    mates = (y[:, None] == y) & ~np.eye(n, dtype=bool)
    return np.mean(np.log((k * mates).sum(1) / mates.sum(1)) - np.log(k.sum(1) / (n - 1)))
  ell = density(y)
  return np.mean(np.log((k * ell).sum(1) * (n - 1) / (k.sum(1) * ell.sum(1))))


@pytest.mark.parametrize("labelled", [False, True])
def test_kde_in_tiles_on_any_number_of_devices_is_the_dense_value(labelled):
  x = draw(100, 2) * np.array([1.0, 50.0]) + 1000.0
  y = (x[:, 0] > 1000).astype(int) if labelled else x + 20 * draw(100, 2, seed=1)
  expected = dense_kde(x, y)
  assert expected > 0.1
  for devices in (1, 8):
    np.testing.assert_allclose(kde(block_size=32, devices=devices)(x, y).nats, expected, rtol=1e-4)


def test_kde_far_from_all_others_stays_finite():
  x, y = gaussian_pair(50)
  x[0] = 1e4
  assert math.isfinite(kde(factor=0.1, devices=1)(x, y).nats)
  assert math.isfinite(kde(quantity="entropy", factor=0.1, devices=1)(x).nats)


def test_kde_counts_a_row_alone_in_its_class_as_zero_and_says_so():
  x, labels = draw(21, 1), np.repeat(np.array([0, 1, 2]), [10, 10, 1])
  found = kde(devices=1)(x, labels)
  assert math.isfinite(found.nats)
  assert "singletons" in [note.code for note in found.warnings]
  assert kde(devices=1).value(x, labels, None, None).local[-1] == 0.0


# Sliced information.


def test_sliced_information_of_gaussians_is_the_average_over_directions():
  rng = np.random.default_rng(0)
  scale = np.array([1.0, 2.0, 0.5])
  x = rng.normal(size=(4000, 3))
  y = 0.8 * x * scale + 0.6 * rng.normal(size=(4000, 3)) * scale
  a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 20000, 3)))
  cross = 0.8 * np.einsum("sd,sd->s", a, b * scale)
  r = cross / np.linalg.norm(b * scale, axis=1)
  expected = np.mean(-0.5 * np.log1p(-(r**2)))
  found = sliced("gaussian", slices=400)(x, y)
  assert abs(found.nats - expected) < 4 * found.stderr < 0.05
  by_neighbours = sliced("ksg", slices=8)(x[:800], y[:800])
  same = sliced("gaussian", slices=8)(x[:800], y[:800])  # the same directions
  np.testing.assert_allclose(by_neighbours.nats, same.nats, atol=0.03)
  np.testing.assert_allclose(
    by_neighbours.diagnostics["slice_nats"], same.diagnostics["slice_nats"], atol=0.12
  )


def test_sliced_information_draws_directions_from_the_key():
  x = draw(100)
  values = [sliced("gaussian", slices=4)(x, x, key=jax.random.key(k)).nats for k in (0, 0, 1)]
  assert values[0] == values[1] != values[2]
