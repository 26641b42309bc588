"""Learned bounds: what is reported of them, that they stack, and that labels and truths fit."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import IbjaxError
from ibjax.estimators.base import bounds, conditional, learned
from ibjax.estimators.base.many import value_many
from ibjax.estimators.variational.barber_agakov import barber_agakov
from ibjax.estimators.variational.club import club
from ibjax.estimators.variational.info_nce import info_nce
from ibjax.estimators.variational.mine import _objective as mine_objective

SMALL = dict(critic="quadratic", steps=60)


def pairs(n=300, rho=0.8, seed=0):
  a, b = np.random.default_rng(seed).normal(size=(2, n, 1))
  return a, rho * a + math.sqrt(1.0 - rho**2) * b


@functools.cache
def estimator(**hyper):
  return info_nce(**(SMALL | hyper))


def test_the_report_is_of_rows_that_neither_fitting_nor_stopping_saw():
  # The same key cuts the same rows: spoiling the test part alone must leave the run as it was.
  x, y = pairs()
  key = jax.random.key(3)
  own = learned.split((np.arange(300),), learned.rng.stream(key, "parts"), learned.FRACTIONS)
  test = np.asarray(own.test[0])
  spoiled = y.copy()
  spoiled[test] = np.random.default_rng(1).permutation(y[test])  # the same values, other partners
  a, b = estimator()(x, y, key=key), estimator()(x, spoiled, key=key)
  np.testing.assert_allclose(
    a.diagnostics["validation_nats"], b.diagnostics["validation_nats"], rtol=1e-4, atol=1e-5
  )
  assert a.nats > 0.2 and b.nats < 0.05
  assert int(a.diagnostics["test_rows"]) == len(test)


def test_many_data_sets_are_the_single_estimates():
  x, y = (np.stack(a) for a in zip(*(pairs(seed=seed, rho=0.5 + 0.2 * seed) for seed in range(2))))
  keys = jax.random.split(jax.random.key(0), 2)
  for strategy in ("map", "vmap"):
    found = value_many(estimator(), x, y, keys, strategy=strategy)
    alone = [estimator()(a, b, key=key).nats for a, b, key in zip(x, y, keys)]
    np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4)
  assert abs(float(found[0] - found[1])) > 0.05


def test_hyperparameters_stack():
  x, y = (jnp.asarray(a, jnp.float32) for a in pairs())
  key = jax.random.key(0)

  def value(rate):
    return info_nce(**SMALL, learning_rate=rate).value(x, y, None, key).nats

  rates = jnp.array([0.005, 0.05])
  together = jax.jit(jax.vmap(value))(rates)
  np.testing.assert_allclose(together, [value(rate) for rate in rates], rtol=1e-3, atol=1e-4)
  assert abs(float(together[0] - together[1])) > 1e-3


def test_near_the_ceiling_it_says_so():
  (note,) = learned._ceiling(jnp.float32(1.3), 4)
  assert note.code == "near_ceiling" and "log k = 1.386" in note.text
  assert learned._ceiling(jnp.float32(1.1), 4) == ()


def test_mine_has_the_value_of_the_bound_and_the_gradient_of_the_average():
  scores = jax.random.normal(jax.random.key(0), (5, 5))
  state = (jnp.float32(0.7), jnp.float32(3.0))

  def value(s):
    return mine_objective(s, state=state, decay=0.9)

  (nats, (log_average, seen)), slope = jax.value_and_grad(value, has_aux=True)(scores)
  np.testing.assert_allclose(nats, bounds.dv(scores), rtol=1e-5)
  off = ~np.eye(5, dtype=bool)
  mean = np.mean(np.exp(np.asarray(scores)[off]))
  average = 0.9 * math.exp(0.7) + 0.1 * mean
  np.testing.assert_allclose(log_average, math.log(average), rtol=1e-5)
  expected = np.where(off, -np.exp(scores) / (20 * average), 0.2)
  np.testing.assert_allclose(slope, expected, rtol=1e-4)
  assert float(seen) == 4.0


def test_labels_may_be_y():
  x, _ = pairs()
  labels = np.int64(x[:, 0] > 0) + 2 * np.int64(x[:, 0] > 1)
  found = info_nce(critic="joint", steps=100)(x, labels, key=jax.random.key(0))
  entropy = -sum(p * math.log(p) for p in np.unique(labels, return_counts=True)[1] / 300)
  assert 0.6 * entropy < found.nats < entropy + 2.0 * found.stderr
  with pytest.raises(IbjaxError, match="one_hot"):
    jax.jit(lambda y: estimator().value(x, y, None, jax.random.key(0)).nats)(labels)


def test_barber_agakov_knows_the_units_of_y():
  x, y = pairs(400)
  entropy = 0.5 * math.log(2.0 * math.pi * math.e)
  one = barber_agakov(entropy, sizes=(4,), steps=60)(x, y, key=jax.random.key(0))
  two = barber_agakov(entropy + math.log(10.0), sizes=(4,), steps=60)(
    x, 10.0 * y, key=jax.random.key(0)
  )
  np.testing.assert_allclose(one.nats, two.nats, atol=1e-4)
  assert one.bound == "lower" and barber_agakov("gaussian").bound == "neither"


@pytest.mark.parametrize("d", [1, 3])
def test_club_of_the_true_conditional(d):
  rho = 0.6
  rng = np.random.default_rng(d)
  x, noise = rng.normal(size=(2, 20_000, d))
  y = rho * x + math.sqrt(1.0 - rho**2) * noise

  def log_q(a, b):
    return -0.5 * jnp.sum(jnp.square(b[None] - rho * a[:, None]), axis=2) / (1.0 - rho**2)

  expected = d * rho**2 / (1.0 - rho**2)
  for q in (log_q, conditional.linear_gaussian):
    found = club(q, k=500)(x, y)
    assert abs(found.nats - expected) < 4.0 * found.stderr + 0.02 * expected
  assert found.bound == "upper"


def test_the_conditional_gaussian_is_normalised_and_knows_correlated_targets():
  q = conditional.gaussian((4,))
  params = q.init(jax.random.key(0), 1, 2)
  params["lower"] = jnp.array([[0.0, 0.0], [0.7, 0.0]])
  params["network"][-1]["b"] = jnp.array([0.3, -0.2, -0.5, 0.4])
  grid = jnp.linspace(-8.0, 8.0, 161)
  y = jnp.stack(jnp.meshgrid(grid, grid), -1).reshape(-1, 2)
  log_q = q.pairs(params, jnp.zeros((1, 1)), y)
  np.testing.assert_allclose(jnp.sum(jnp.exp(log_q)) * 0.01, 1.0, rtol=1e-3)
  rows = q.rows(params, jnp.zeros((5, 1)), y[:5])
  np.testing.assert_allclose(rows, log_q[0, :5], rtol=1e-4)


def test_counts_out_of_range_are_refused():
  for hyper, word in (
    (dict(steps=0), "steps"),
    (dict(k=1), "k is 1"),
    (dict(learning_rate=0.0), "learning_rate"),
    (dict(critic="biliner"), "critic"),
    (dict(transform="rank"), "transform"),
  ):
    with pytest.raises(IbjaxError, match=word):
      info_nce(**hyper)(*pairs())
