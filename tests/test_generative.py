"""Estimators with a model of the data: their parts against closed forms, and small fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.estimators.base import densities, diffusion
from ibjax.estimators.base.densities import make_density
from ibjax.estimators.base.lipschitz import unit_layer
from ibjax.estimators.base.principal import principal_components
from ibjax.estimators.base.spline import parameters_of, spline
from ibjax.estimators.base.stochastic import disturb, stochastic_layers
from ibjax.estimators.variational.difference_of_entropies import difference_of_entropies
from ibjax.estimators.variational.v_information import linear_gaussian_gain, v_information
from ibjax.estimators.variational.wasserstein_dependency import wasserstein_dependency

# Diffusion: scores to nats.


def exact_noises(rho):
  """Exact predictions for a pair of correlated Gaussians, on points whose mean is the expectation.

  Every difference of predictions is linear in (x, y, z_x, z_y), so its mean square over the
  Gaussian is that over the four axes, each at distance 2, on a fine grid of ratios.
  """
  n = 4000
  ratio = diffusion.draw_log_snr(jax.random.key(0), n)
  ratio = jnp.repeat(ratio, 4)
  x, u, zx, zy = 2.0 * jnp.tile(jnp.eye(4), (n, 1)).T[..., None]
  y = rho * x + np.sqrt(1 - rho**2) * u
  a, s = (scale[:, None] for scale in diffusion.levels(ratio))
  x_t, y_t = a * x + s * zx, a * y + s * zy
  spread = a**2 * (1 - rho**2) + s**2
  r = a**2 * rho
  noises = {
    "x": s * x_t,
    "x|y": s * (x_t - a * rho * y) / spread,
    "y|x": s * (y_t - a * rho * x) / spread,
    "xy": s * jnp.concatenate([x_t - r * y_t, y_t - r * x_t], 1) / (1 - r**2),
  }
  return noises, x_t, y_t, ratio


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_exact_scores_integrate_to_the_exact_information_in_all_four_forms(rho):
  e, x_t, y_t, ratio = exact_noises(rho)
  both = jnp.concatenate([e["x|y"], e["y|x"]], 1)

  def reference(noise, noisy, sigma):
    return diffusion.reference_gap_nats(noise, noisy, ratio, sigma)

  found = [diffusion.gap_nats(e["x"], e["x|y"]), diffusion.gap_nats(e["xy"], both)]
  for sigma in (1.0, 2.0):
    rest = reference(e["x|y"], x_t, sigma)
    found.append(rest - reference(e["x"], x_t, sigma))
    joint = reference(e["xy"], jnp.concatenate([x_t, y_t], 1), sigma)
    found.append(rest + reference(e["y|x"], y_t, sigma) - joint)
  means = np.array([np.mean(np.asarray(one, np.float64)) for one in found])
  np.testing.assert_allclose(means, -0.5 * np.log(1 - rho**2), atol=1e-3)


def test_ratios_are_spread_evenly_and_the_scales_are_theirs():
  drawn = np.sort(diffusion.draw_log_snr(jax.random.key(0), 64))
  assert drawn[0] >= diffusion.LOWEST and drawn[-1] <= diffusion.HIGHEST
  np.testing.assert_allclose(np.diff(drawn), (diffusion.HIGHEST - diffusion.LOWEST) / 64, rtol=1e-3)
  signal, noise = diffusion.levels(jnp.asarray(drawn))
  np.testing.assert_allclose(signal**2 + noise**2, 1.0, rtol=1e-6)
  np.testing.assert_allclose(2 * np.log(signal / noise), drawn, atol=1e-4)


# Splines.


def test_a_spline_is_increasing_its_slope_is_its_derivative_and_its_tails_are_the_identity():
  raw = 2.0 * jax.random.normal(jax.random.key(0), (parameters_of(8),))
  u = jnp.linspace(-6.0, 6.0, 1201)
  z, log_slope = jax.vmap(lambda one: spline(one, raw))(u)
  assert (np.diff(z) > -1e-6).all()  # but for rounding where it is flat
  slope = jax.vmap(jax.grad(lambda one: spline(one, raw)[0]))(u)
  np.testing.assert_allclose(np.exp(log_slope), slope, rtol=1e-3)
  outside = np.abs(u) >= 4.0
  np.testing.assert_array_equal(z[outside], u[outside])
  assert np.max(np.abs(z - u)) > 0.3  # else the test would hold of the identity
  gradient = jax.grad(lambda raw: jnp.sum(jax.vmap(lambda one: spline(one, raw)[1])(u)))(raw)
  assert np.isfinite(gradient).all() and np.any(gradient != 0)


# Densities.


def random_density(family, dx, dy):
  density = make_density(family, sizes=(16,), bins=4)
  params = density.init(jax.random.key(0), dx, dy)
  params[-1]["w"] = 0.15 * jax.random.normal(jax.random.key(1), params[-1]["w"].shape)
  return jax.jit(lambda y, context: density.log_prob(params, y, context))


@pytest.mark.parametrize("family", ["gaussian", "logistic", "flow"])
def test_a_density_integrates_to_one_and_depends_on_its_context(family):
  log_prob = random_density(family, 1, 2)
  side = np.linspace(-15.0, 15.0, 401)
  grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype(np.float32)
  masses = [np.exp(log_prob(grid, np.full((len(grid), 1), c, np.float32))) for c in (-1.0, 2.0)]
  for mass in masses:
    np.testing.assert_allclose(np.sum(mass) * (side[1] - side[0]) ** 2, 1.0, rtol=5e-3)
  assert np.max(np.abs(masses[0] - masses[1])) > 1e-2


def test_a_flow_lets_each_column_see_the_context_and_the_columns_before():
  into, between, out = densities._masks(2, 3, (7, 5), 1)
  sees = (out @ between @ into) > 0
  before = np.arange(3)[:, None] > np.arange(3)
  np.testing.assert_array_equal(sees, np.concatenate([np.ones((3, 2), bool), before], axis=1))


# Fits.


def of_covariance(x, y):
  """Information of the Gaussian with these samples' covariance."""
  joint = np.cov(np.concatenate([x, y], 1).T)
  d = x.shape[1]
  logs = [np.linalg.slogdet(np.atleast_2d(c))[1] for c in (joint[:d, :d], joint[d:, d:], joint)]
  return 0.5 * (logs[0] + logs[1] - logs[2])


def test_keys_are_mapped_over_in_one_program():
  estimator = difference_of_entropies(family="gaussian", sizes=(8,), steps=50)
  x = np.random.default_rng(0).normal(size=(100, 1))
  y = x + np.random.default_rng(1).normal(size=(100, 1))
  keys = jax.random.split(jax.random.key(0), 2)
  together = jax.vmap(lambda key: estimator.value(x, y, None, key).nats)(keys)
  alone = [estimator.value(x, y, None, key).nats for key in keys]
  np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)
  assert abs(alone[0] - alone[1]) > 1e-3


# V-information.


def test_a_linear_gain_of_the_rows_fitted_is_the_closed_form():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(400, 3))
  y = x[:, :2] @ rng.normal(size=(2, 2)) + rng.normal(size=(400, 2))
  x, y = (jnp.asarray((a - a.mean(0)) / a.std(0), jnp.float32) for a in (x, y))
  gain = np.mean(linear_gaussian_gain(x, y, x, y))
  # Unbiased variances: n - 1 over n - 1 - dx, and the same in the trace of the quadratic forms.
  n, dx, dy = 400, 3, 2
  freedom = 0.5 * dy * (np.log((n - 1 - dx) / (n - 1)) + (n - 1) / n - (n - 1 - dx) / n)
  np.testing.assert_allclose(gain, of_covariance(x, y) + freedom, atol=1e-4)


def test_v_information_is_that_of_its_family_and_direction():
  x = np.random.default_rng(0).uniform(-1.0, 1.0, 1500)
  square = x**2 + 0.05 * np.random.default_rng(1).normal(size=1500)
  mlp = v_information(family="mlp", sizes=(16,), steps=400, learning_rate=1e-2)
  assert abs(v_information()(x, square).nats) < 0.01  # a line cannot use it
  there, back = mlp(x, square).nats, mlp(square, x).nats
  assert there > 1.0 > 0.5 > back  # the sign is lost


def test_v_information_of_labels_says_when_it_cannot_count_them():
  x, y = np.random.default_rng(0).normal(size=(64, 1)), np.arange(64) % 2
  trace = jax.jit(lambda y: v_information().value(x, y, None, jax.random.key(0)).nats)
  with pytest.raises(InputError, match="classes="):
    trace(y)


def test_a_linear_fit_needs_more_rows_than_columns():
  wide = np.random.default_rng(0).normal(size=(30, 28))
  with pytest.raises(InputError, match="28 columns"):
    v_information()(wide, wide[:, :1])


# Wasserstein dependency.


def test_layers_have_slope_one():
  w = jnp.asarray(np.random.default_rng(0).normal(size=(16, 8)) * np.linspace(1, 3, 8), jnp.float32)
  unit = unit_layer({"w": w, "b": jnp.zeros(16)})["w"]
  np.testing.assert_allclose(np.linalg.norm(unit, ord=2), 1.0, rtol=0.02)


def test_distance_is_zero_for_independent_pairs_and_scales_with_units():
  rng = np.random.default_rng(0)
  x, y = rng.choice([-1.0, 1.0], size=(2, 2000))
  estimator = wasserstein_dependency(
    sizes=(16, 16), steps=300, learning_rate=1e-2, transform="none"
  )
  assert abs(estimator(x, y).nats) < 0.1
  one, three = estimator(x, x).nats, estimator(3.0 * x, 3.0 * x).nats
  assert 0.75 < one <= 1.05  # exact: 1
  assert 2.25 < three <= 3.15
  assert estimator(x, x).diagnostics["largest_slope"] <= 1.0 + 1e-4


# Compression and noise.


def test_principal_components_are_numpys_from_either_side():
  rng = np.random.default_rng(0)
  tall = rng.normal(size=(50, 8)) @ rng.normal(size=(8, 8)) * 1e3 + 5e3
  for x in (tall, tall.T):
    code, kept = principal_components(jnp.asarray(x, jnp.float32), 3)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(code * u[:, :3], 0)), np.sqrt(len(x)), rtol=1e-3)
    np.testing.assert_allclose(kept, np.sum(s[:3] ** 2) / np.sum(s**2), rtol=1e-4)


def test_principal_components_without_variance_are_zero_and_too_many_are_refused():
  x = jnp.outer(jnp.arange(5.0), jnp.ones(3))
  code, kept = principal_components(x, 2)
  np.testing.assert_allclose(np.std(code, axis=0), [1.0, 0.0], atol=1e-6)
  assert abs(kept - 1.0) < 1e-6
  with pytest.raises(InputError, match="expected at most 3"):
    principal_components(x, 4)


@pytest.mark.parametrize("relative", [True, False])
def test_noise_has_the_stated_scale_and_relative_noise_keeps_zeros(relative):
  x = jnp.repeat(jnp.array([0.0, -3.0]), 4000)
  change = disturb(jax.random.key(0), x, sigma=0.1, relative=relative) - x
  spread = np.std(np.asarray(change).reshape(2, -1), axis=1)
  np.testing.assert_allclose(spread, [0.0, 0.3] if relative else [0.1, 0.1], rtol=0.05)
  with pytest.raises(InputError, match="sigma"):
    disturb(jax.random.key(0), x, sigma=-1.0)


def test_noise_comes_before_every_layer():
  layers = [lambda h: 2.0 * h, lambda h: h + 1.0]
  key = jax.random.key(0)
  first, second = stochastic_layers(layers, jnp.ones(1000), key, sigma=0.1)
  np.testing.assert_allclose(np.std(first), 0.2, rtol=0.1)
  np.testing.assert_allclose(np.std(second - first - 1.0), 0.2, rtol=0.1)  # of twos: 0.1 |2|
  assert abs(np.corrcoef(first, second - first)[0, 1]) < 0.1  # another draw for each layer
