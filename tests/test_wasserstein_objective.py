"""The Wasserstein dependency of views: its critic, its constraints, its known values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.core.errors import InputError
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives.representation.wasserstein_dependency import wasserstein_dependency

N = 256


def signs(flip):
  """Two views on a line: fair signs, of which the stated part disagrees."""
  a = np.where(np.arange(N) % 2, 1.0, -1.0)
  b = np.where(np.arange(N) // 2 < flip * N / 2, -a, a)
  order = np.random.default_rng(0).permutation(N)
  return np.float32(np.concatenate([a[order], b[order]])[:, None])


@functools.cache
def programs(constraint):
  objective = wasserstein_dependency(sizes=(16, 16), constraint=constraint)
  params, state = objective.init(jax.random.key(0), ObjectiveSpec(jnp.ones(1), 1))
  optimizer = optax.adam(1e-2)

  def terms(params, z, mask, key):
    outputs = Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 1)), views=2)
    batch = {"y": jnp.zeros(len(z), jnp.int32), "mask": mask}
    found = objective.loss(params, state, outputs, batch, key, 0)
    loss = sum(t.weight * jnp.mean(t.value) for t in found.losses.values())
    return loss, (found.losses["dependency"].value, found.metrics["critic_slope"])

  def fit(z):
    def step(carry, i):
      params, opt = carry
      key = jax.random.fold_in(jax.random.key(1), i)
      slope, found = jax.grad(terms, has_aux=True)(params, z, jnp.ones(len(z), bool), key)
      updates, opt = optimizer.update(slope, opt)
      return (optax.apply_updates(params, updates), opt), found

    return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(400))[1]

  return params, jax.jit(jax.value_and_grad(terms, argnums=1, has_aux=True)), jax.jit(fit)


@pytest.mark.parametrize("constraint", ["penalty", "spectral"])
def test_the_critic_finds_the_distance_of_signs(constraint):
  # (1 - 2 p) / 4 of the mass at each of two corners moves by 2: 0.8 at p = 0.1.
  dependency, slope = programs(constraint)[2](signs(0.1))
  np.testing.assert_allclose(np.mean(dependency[-100:]), 0.8, rtol=0.12)
  assert 0.8 < np.mean(slope[-100:]) < 1.1
  independent, _ = programs(constraint)[2](signs(0.5))
  assert np.mean(independent[-100:]) < 0.2


@pytest.mark.parametrize("constraint", ["penalty", "spectral"])
def test_masked_examples_change_nothing(constraint):
  params, evaluate, _ = programs(constraint)
  z, kept = signs(0.2), np.tile(np.arange(N) < 200, 2)
  (loss, _), slope = evaluate(params, z, kept, jax.random.key(3))
  spoiled = np.where(kept[:, None], z, np.float32(np.nan))
  (same, _), same_slope = evaluate(params, spoiled, kept, jax.random.key(3))
  assert loss == same and np.all(np.isfinite(same_slope)) and not np.any(slope[~kept])
  np.testing.assert_array_equal(slope, same_slope)


def test_another_width_is_explained():
  objective = wasserstein_dependency(width=3)
  params, state = objective.init(None, ObjectiveSpec(jnp.ones(1), 1))
  outputs = Outputs(Code(jnp.ones((4, 1)), None, None, {}), jnp.zeros((4, 1)), views=2)
  batch = {"y": jnp.zeros(4, jnp.int32), "mask": jnp.ones(4, bool)}
  with pytest.raises(InputError, match=r"objective\.width"):
    objective.loss(params, state, outputs, batch, jax.random.key(0), 0)
