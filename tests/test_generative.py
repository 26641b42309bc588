"""Estimators with a model of the data: their parts against closed forms, and small fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.estimators.base import diffusion
from ibjax.estimators.base.principal import principal_components
from ibjax.estimators.base.spline import parameters_of, spline
from ibjax.estimators.base.stochastic import disturb, stochastic_layers

# Diffusion: scores to nats.


def exact_noises(rho):
  """Exact predictions for a pair of correlated Gaussians, on points whose mean is the expectation.

  Every difference of predictions is linear in (x, y, z_x, z_y), so its mean square over the
  Gaussian is that over the four axes, each at distance 2, on a fine grid of ratios.
  """
  n = 4001
  ratio = jnp.linspace(diffusion.LOWEST, diffusion.HIGHEST, n + 1)[:-1] + 10.0 / n
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


def test_ratios_are_drawn_one_from_each_stratum():
  drawn = np.sort(diffusion.draw_log_snr(jax.random.key(0), 64))
  edges = np.linspace(diffusion.LOWEST, diffusion.HIGHEST, 65)
  assert (edges[:-1] <= drawn).all() and (drawn <= edges[1:]).all()
  signal, noise = diffusion.levels(jnp.asarray(drawn))
  np.testing.assert_allclose(signal**2 + noise**2, 1.0, rtol=1e-6)
  np.testing.assert_allclose(2 * np.log(signal / noise), drawn, atol=1e-4)


# Splines.


def test_a_spline_is_increasing_its_slope_is_its_derivative_and_its_tails_are_the_identity():
  raw = 2.0 * jax.random.normal(jax.random.key(0), (parameters_of(8),))
  u = jnp.linspace(-6.0, 6.0, 1201)
  z, log_slope = jax.vmap(lambda one: spline(one, raw))(u)
  assert (np.diff(z) > 0).all()
  slope = jax.vmap(jax.grad(lambda one: spline(one, raw)[0]))(u)
  np.testing.assert_allclose(np.exp(log_slope), slope, rtol=1e-3)
  outside = np.abs(u) >= 4.0
  np.testing.assert_array_equal(z[outside], u[outside])
  assert np.max(np.abs(z - u)) > 0.3  # else the test would hold of the identity
  gradient = jax.grad(lambda raw: jnp.sum(jax.vmap(lambda one: spline(one, raw)[1])(u)))(raw)
  assert np.isfinite(gradient).all() and np.any(gradient != 0)


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
