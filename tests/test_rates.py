"""The sandwich of I(X;Z) against Gaussian closed forms and a dense computation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from ibjax.core.numerics import gaussian_log_prob
from ibjax.core.types import Code
from ibjax.evaluators.rates import sandwich

LOWER, UPPER = "i_xz_infonce_lower_nats", "i_xz_loo_upper_nats"


def code(n, d, scale, seed=0, spread=1.0):
  keys = jax.random.split(jax.random.key(seed), 2)
  mean = spread * jax.random.normal(keys[0], (n, d))
  log_scale = jnp.full((n, d), math.log(scale))
  value = mean + scale * jax.random.normal(keys[1], (n, d))
  aux = {"mean": mean, "log_scale": log_scale}
  return Code(value, None, None, {**aux, "log_prob": gaussian_log_prob(value, mean, log_scale)})


bounds = jax.jit(sandwich)


def test_the_information_of_a_gaussian_channel_is_between_the_bounds():
  exact = 0.5 * 2 * math.log1p(1.0 / 0.5**2)  # 1.609 nats, far below log 1000
  found = [bounds(code(1000, 2, 0.5, seed), jnp.ones(1000, bool)) for seed in range(8)]
  lower, upper = (np.array([float(f[name].mean()) for f in found]) for name in (LOWER, UPPER))
  error = 2.5 * upper.std(ddof=1) / math.sqrt(len(found))
  assert lower.mean() < upper.mean()
  assert lower.mean() - error <= exact <= upper.mean() + error
  assert upper.mean() - lower.mean() < 0.05, "a tight pair where the rate is below log n"


def test_the_lower_bound_ends_at_the_logarithm_of_the_batch_and_the_upper_goes_on():
  found = bounds(code(64, 3, 1e-4, spread=5.0), jnp.ones(64, bool))
  np.testing.assert_allclose(found[LOWER].mean(), math.log(64), rtol=1e-5)
  assert found[UPPER].mean() > 100.0


def test_both_equal_a_dense_computation_in_double_precision():
  given, n = code(50, 4, 0.3), 50
  value, mean, log_scale = (
    np.asarray(a, np.float64) for a in (given.value, given.aux["mean"], given.aux["log_scale"])
  )
  z = (value[:, None] - mean[None]) / np.exp(log_scale)[None]
  scores = -0.5 * (z**2 + 2 * log_scale[None] + math.log(2 * math.pi)).sum(-1)
  own = np.diagonal(scores)
  lower = own - scipy.special.logsumexp(scores, 1) + math.log(n)
  apart = np.where(np.eye(n, dtype=bool), -np.inf, scores)
  upper = own - scipy.special.logsumexp(apart, 1) + math.log(n - 1)
  found = bounds(given, jnp.ones(n, bool))
  np.testing.assert_allclose(found[LOWER], lower, atol=2e-4)
  np.testing.assert_allclose(found[UPPER], upper, atol=2e-4)


def test_members_of_a_population_have_their_own_bounds():
  """One scale of noise each: jitted and mapped at once, XLA once compiled this wrongly."""
  mean = jax.random.normal(jax.random.key(0), (128, 16))
  noise = jax.random.normal(jax.random.key(1), (128, 16))

  def given(scale):
    log_scale = jnp.full_like(mean, jnp.log(scale))
    log_prob = gaussian_log_prob(scale * noise, jnp.zeros_like(mean), log_scale)
    aux = {"mean": mean, "log_scale": log_scale, "log_prob": log_prob}
    return sandwich(Code(mean + scale * noise, None, None, aux), jnp.ones(128, bool))

  scales = jnp.array([0.3, 1.0])
  together, alone = jax.jit(jax.vmap(given))(scales), [given(scale) for scale in scales]
  for name in (LOWER, UPPER):
    wanted = jnp.stack([one[name] for one in alone])
    np.testing.assert_allclose(together[name], wanted, rtol=1e-4, atol=1e-4)


def test_masked_examples_are_not_there():
  given = code(20, 2, 0.5)
  mask = jnp.arange(20) < 12
  few = jax.tree.map(lambda leaf: leaf[:12], given)
  found, wanted = bounds(given, mask), bounds(few, jnp.ones(12, bool))
  for name in (LOWER, UPPER):
    np.testing.assert_allclose(found[name][:12], wanted[name], rtol=1e-5, atol=1e-5)
    assert not np.any(found[name][12:])


@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_the_bounds_are_finite_from_no_noise_to_all_noise(scale):
  found = bounds(code(32, 4, scale), jnp.ones(32, bool))
  assert all(np.isfinite(value).all() for value in found.values())
  if scale > 1:
    assert all(abs(float(value.mean())) < 1e-3 for value in found.values())


def test_a_code_without_a_density_has_no_bounds():
  assert sandwich(Code(jnp.zeros((3, 2)), None, None, {}), jnp.ones(3, bool)) == {}
