"""Fitting inside one program, the three parts of the rows, and networks that score pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import IbjaxError
from ibjax.estimators.base import fit as fitting
from ibjax.estimators.base import networks, splits

KEY = jax.random.key(0)


def line(n=64):
  x = np.linspace(-1.0, 1.0, n, dtype=np.float32)
  return jnp.asarray(x), jnp.asarray(3.0 * x - 1.0)


def squares(params, batch, key):
  x, y = batch
  return jnp.mean(jnp.square(params["a"] * x + params["b"] - y))


ZERO = {"a": jnp.float32(0.0), "b": jnp.float32(0.0)}


def test_fit_finds_the_least_squares_line():
  options = dict(key=KEY, steps=400, batch_size=16, learning_rate=0.1, check_every=50)
  fitted = fitting.fit(squares, ZERO, line(), line(), **options)
  np.testing.assert_allclose([fitted.params["a"], fitted.params["b"]], [3.0, -1.0], atol=0.02)
  assert fitted.history.shape == (9,) and fitted.history[0] > 1.0


def test_fit_keeps_the_best_validation_check_and_stops():
  # Validation wants 1 while training goes on to 3: the best check is where it passes 1.
  train, validation = jnp.full(32, 3.0), jnp.full(8, 1.0)
  fitted = jax.jit(
    lambda: fitting.fit(
      lambda params, batch, key: jnp.mean(jnp.square(params - batch)),
      jnp.float32(0.0),
      train,
      validation,
      key=KEY,
      steps=1000,
      batch_size=8,
      learning_rate=0.05,
      check_every=5,
      patience=3,
    )
  )()
  history = np.asarray(fitted.history)
  looked = history[np.isfinite(history)]
  best = int(np.argmin(looked))
  assert int(fitted.best_step) == 5 * best
  assert int(fitted.steps) == 5 * (len(looked) - 1) == 5 * (best + 3)
  np.testing.assert_allclose(np.square(fitted.params - 1.0), looked[best], rtol=1e-6)
  assert np.isnan(history[len(looked) :]).all() and len(looked) < len(history)


def test_fit_never_keeps_what_is_not_finite():
  def loss(params, batch, key):  # infinite below zero, where the slope leads
    return jnp.mean(jnp.where(params > 0.0, params, -jnp.inf) + 0.0 * batch)

  fitted = fitting.fit(
    loss, jnp.float32(0.25), jnp.ones(8), jnp.ones(8), key=KEY, steps=20, learning_rate=0.1,
    check_every=1,
  )  # fmt: skip
  assert 0.0 < float(fitted.params) < 0.1 and np.isinf(fitted.history[4])


def test_fit_passes_a_state_from_batch_to_batch():
  def loss(params, batch, key, state):
    return jnp.mean(jnp.square(params - batch)), {"seen": state["seen"] + len(batch)}

  fitted = fitting.fit(
    loss, jnp.float32(0.0), jnp.ones(32), jnp.ones(8), key=KEY, steps=6, batch_size=8,
    check_every=3, state={"seen": jnp.int32(0)},
  )  # fmt: skip
  assert int(fitted.state["seen"]) == 48


def test_fit_maps_over_keys_and_learning_rates():
  def run(key, rate):
    return fitting.fit(
      squares, ZERO, line(), line(), key=key, steps=20, batch_size=16, learning_rate=rate,
      check_every=10,
    ).params["a"]  # fmt: skip

  keys, rates = jax.random.split(KEY, 3), jnp.array([0.01, 0.1, 0.3])
  together = jax.jit(jax.vmap(run))(keys, rates)
  alone = [jax.jit(run)(key, rate) for key, rate in zip(keys, rates)]
  np.testing.assert_allclose(together, alone, rtol=1e-5)
  assert len({float(a) for a in together}) == 3


@pytest.mark.parametrize(("n", "batch", "batches"), [(10, 3, 8), (4, 4, 3), (100, 7, 2)])
def test_an_epoch_draws_no_row_twice(n, batch, batches):
  order = np.asarray(fitting._order(KEY, n, batch, batches))
  assert order.shape == (batches * batch,)
  whole = n // batch * batch
  for start in range(0, len(order), whole):
    epoch = order[start : start + whole]
    assert len(set(epoch.tolist())) == len(epoch) and epoch.max() < n
  if len(order) > whole:
    assert (order[: len(order) - whole] != order[whole:]).any()


def test_fit_refuses_counts_below_one():
  with pytest.raises(IbjaxError, match="batch_size is 0"):
    fitting.fit(squares, ZERO, line(), line(), key=KEY, batch_size=0)


def test_three_parts_share_the_rows_out():
  x = jnp.arange(37)
  parts = splits.split((x, -x), KEY, (0.6, 0.2))
  together = np.concatenate([part[0] for part in parts])
  assert sorted(together.tolist()) == list(range(37)) and (together[:37] != np.arange(37)).any()
  for first, second in parts:
    np.testing.assert_array_equal(first, -second)
  again = splits.split((x, -x), jax.random.key(1), (0.6, 0.2))
  assert (parts.test[0] != again.test[0]).any()


def test_no_part_may_be_empty():
  with pytest.raises(IbjaxError, match="at least one row"):
    splits.split((jnp.arange(3),), KEY, (0.9, 0.05))


@pytest.mark.parametrize("transform", ["standardize", "ranks"])
def test_scaling_knows_the_training_part_alone(transform):
  data = jax.random.normal(KEY, (40, 2)) * 5.0 + 3.0
  parts = splits.split((data,), KEY)
  spoiled = parts._replace(test=(parts.test[0] * 100.0,), validation=(parts.validation[0] - 7.0,))
  a, b = splits.scale(parts, transform), splits.scale(spoiled, transform)
  np.testing.assert_array_equal(a.train[0], b.train[0])
  np.testing.assert_allclose(np.mean(a.train[0], axis=0), 0.0, atol=1e-5)
  assert (np.asarray(a.test[0]) != np.asarray(b.test[0])).any()
  order = np.argsort(parts.test[0][:, 0])
  assert (np.diff(np.asarray(a.test[0])[order, 0]) >= 0.0).all()


def test_normal_scores_do_not_depend_on_the_scale_of_a_column():
  data = jax.random.normal(KEY, (64, 1))
  one = splits.scale(splits.split((data,), KEY), "ranks")
  two = splits.scale(splits.split((jnp.exp(3.0 * data),), KEY), "ranks")
  np.testing.assert_array_equal(one.train[0], two.train[0])


def test_centring_keeps_a_small_spread_far_from_zero():
  x = 1e8 + np.linspace(0.0, 1e-3, 50)[:, None]
  np.testing.assert_allclose(np.std(splits.centre(x)), 1.0, rtol=1e-4)
  assert np.isfinite(splits.centre(np.ones((5, 1)))).all()


@pytest.mark.parametrize("kind", networks.CRITICS)
def test_a_critic_scores_each_pair_by_itself(kind):
  critic = networks.make_critic(kind, (7, 5))
  x, y = jax.random.normal(KEY, (4, 3)), jax.random.normal(jax.random.key(1), (6, 2))
  params = jax.tree.map(lambda a: a + 0.1, critic.init(KEY, 3, 2))
  apply = jax.jit(critic.apply)
  whole = apply(params, x, y)
  assert whole.shape == (4, 6)
  for i, j in ((0, 0), (3, 5)):
    # Other pairs change, this one does not.
    other = apply(params, x.at[i - 1].add(1.0), y.at[j - 1].add(-2.0))
    np.testing.assert_allclose(other[i, j], whole[i, j], rtol=1e-5)


def test_the_joint_critic_is_a_perceptron_on_the_concatenation():
  critic = networks.make_critic("joint", (7, 5))
  x, y = jax.random.normal(KEY, (4, 3)), jax.random.normal(jax.random.key(1), (6, 2))
  params = critic.init(KEY, 3, 2)
  pairs = np.array([[*x[i], *y[j]] for i in range(4) for j in range(6)])
  for i, layer in enumerate(params):
    pairs = pairs @ np.asarray(layer["w"]).T + np.asarray(layer["b"])
    pairs = np.maximum(pairs, 0.0) if i < 2 else pairs
  np.testing.assert_allclose(critic.apply(params, x, y).ravel(), pairs[:, 0], rtol=1e-5)
