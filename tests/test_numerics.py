"""Closed forms and limits of the numerics and the Gaussian channel, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from ibjax.bottlenecks.gaussian import gaussian, mixture_log_prob
from ibjax.core import numerics
from ibjax.core.types import ObjectiveSpec, Outputs
from ibjax.exact.linear_gaussian_vib import linear_gaussian_vib
from ibjax.objectives.variational.vib import vib


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


def test_gaussian_kl_is_the_integral(x64):
  p, q = stats.norm(0.7, 0.3), stats.norm(-0.2, 1.9)
  expected, _ = integrate.quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), -3, 5)
  found = numerics.gaussian_kl(
    jnp.array([0.7]), jnp.log(jnp.array([0.3])), jnp.array([-0.2]), jnp.log(jnp.array([1.9]))
  )
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_gaussian_kl_keeps_its_digits_for_nearly_equal_scales():
  delta = np.float32(1e-3)
  found = numerics.gaussian_kl(jnp.zeros(1), jnp.array([delta]), jnp.zeros(1), jnp.zeros(1))
  exact = 0.5 * (np.expm1(2 * np.float64(delta)) - 2 * np.float64(delta))
  np.testing.assert_allclose(found, exact, rtol=1e-3)


def test_log_prob_and_entropy_match_scipy(x64):
  x, mean, scale = np.array([0.3, -2.0]), np.array([1.0, 0.5]), np.array([0.2, 3.0])
  found = numerics.gaussian_log_prob(x, mean, jnp.log(scale))
  np.testing.assert_allclose(found, stats.norm(mean, scale).logpdf(x).sum(), rtol=1e-12)
  probs = np.array([0.5, 0.25, 0.25, 0.0])
  np.testing.assert_allclose(numerics.entropy(jnp.array(probs)), 1.5 * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("x", [-1e4, -200.0, -15.1, -15.0, -14.9, -1.0, 0.0, 3.0, 100.0, 1e4])
def test_log_softplus_and_its_gradient_at_the_edges(x):
  with jax.enable_x64(True):
    exact = x - np.exp(x) / 2 if x < -30 else np.log(np.logaddexp(0.0, x))
    slope = 1.0 if x < -30 else 1 / (1 + np.exp(-x)) / np.logaddexp(0.0, x)
  value, gradient = jax.value_and_grad(numerics.log_softplus)(jnp.float32(x))
  np.testing.assert_allclose(value, exact, rtol=2e-6)
  np.testing.assert_allclose(gradient, slope, rtol=2e-5)


def test_mixture_log_prob_is_a_density(x64):
  mean, log_scale = jnp.array([[-1.0], [2.0]]), jnp.log(jnp.array([[0.5], [1.5]]))
  logit = jnp.array([0.3, -1.0])
  grid = jnp.linspace(-20, 20, 20001)[:, None]
  total = jnp.trapezoid(jnp.exp(mixture_log_prob(grid, mean, log_scale, logit)), grid[:, 0])
  np.testing.assert_allclose(total, 1.0, rtol=1e-9)


def test_mixture_rate_averages_to_the_kl_by_quadrature(x64):
  channel = gaussian(dim=1, prior="mixture", components=2)
  params = {
    "mean": jnp.array([[-1.0], [2.0]]),
    "log_scale": jnp.zeros((2, 1)),
    "logit": jnp.zeros(2),
  }
  raw = numerics.inverse_softplus(0.4) + 5.0
  features = jnp.tile(jnp.array([[0.5, raw]]), (200_000, 1))
  code, _ = channel.apply(params, {}, features, key=jax.random.key(0), train=True)
  p = stats.norm(0.5, 0.4)
  mixture = lambda z: np.log(0.5 * stats.norm(-1, 1).pdf(z) + 0.5 * stats.norm(2, 1).pdf(z))
  exact, _ = integrate.quad(lambda z: p.pdf(z) * (p.logpdf(z) - mixture(z)), -3, 4)
  error = np.std(code.rate) / np.sqrt(len(code.rate))
  assert abs(np.mean(code.rate) - exact) < 4 * error
  assert error < 2e-3


@pytest.mark.parametrize("prior", ["standard", "learned", "mixture"])
@pytest.mark.parametrize("raw", [-1e4, -80.0, 0.0, 80.0, 1e4])
def test_gaussian_channel_is_finite_with_finite_gradients_from_no_noise_to_all_noise(prior, raw):
  channel = gaussian(dim=2, prior=prior, components=3)
  params, state = channel.init(jax.random.key(0))

  def rate(features, params):
    code, _ = channel.apply(params, state, features, key=jax.random.key(1), train=True)
    return code.rate.sum() + code.value.sum()

  features = jnp.array([[0.1, -0.2, raw, raw]])
  value, grads = jax.value_and_grad(rate, argnums=(0, 1))(features, params)
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_vib_of_a_linear_gaussian_encoder_is_its_analytic_loss(x64):
  rng = np.random.default_rng(0)
  d, k, n = 3, 2, 400_000
  mean, root = rng.normal(size=d), rng.normal(size=(d, d)) / 2
  weight, bias = rng.normal(size=(k, d)) / 2, rng.normal(size=k) / 3
  scale, decoder, offset = np.array([0.4, 0.9]), np.array([0.8, -1.1]), 0.3
  exact = linear_gaussian_vib(mean, root @ root.T, weight, bias, scale, decoder, offset)

  x = mean + rng.normal(size=(n, d)) @ root.T
  raw = np.log(np.expm1(scale)) + 5.0
  features = jnp.concatenate([x @ weight.T + bias, jnp.tile(raw, (n, 1))], axis=1)
  code, _ = gaussian(dim=k).apply({}, {}, features, key=jax.random.key(0), train=True)
  logits = jnp.stack([jnp.zeros(n), code.value.astype(float) @ decoder + offset], axis=1)
  objective = vib(beta=0.1)
  params, state = objective.init(None, ObjectiveSpec(jnp.array([0.0, 1.0]), k, n_train=1))
  batch = {"y": jnp.ones(n, int), "mask": jnp.ones(n, bool)}
  terms = objective.loss(params, state, Outputs(code, logits), batch, None, 0)
  for name, value in (("distortion_nats", exact.distortion), ("rate_nats", exact.rate)):
    sample = np.asarray(terms.losses[name].value)
    error = sample.std() / np.sqrt(n)
    assert abs(sample.mean() - value) < 4 * error, name
    assert error < 1e-2 * value
  assert exact.information < exact.rate


def test_the_rate_bound_is_tight_for_the_true_marginal():
  one = np.eye(1)
  # z = x + s eps with x ~ N(0, 1 - s^2): z is standard normal, so KL to N(0, I) is I(X;Z).
  s = 0.6
  exact = linear_gaussian_vib(
    np.zeros(1), one * (1 - s**2), one, np.zeros(1), np.array([s]), np.ones(1), 0.0
  )
  np.testing.assert_allclose(exact.rate, exact.information, rtol=1e-12)
  np.testing.assert_allclose(exact.information, -np.log(s), rtol=1e-12)
