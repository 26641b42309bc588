"""The distance aware bottleneck against VIB, closed forms and the properties of its codebook."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks.distance_aware import distance_aware
from ibjax.bottlenecks.gaussian import gaussian, mixture_log_prob
from ibjax.core.errors import ConfigError
from ibjax.data.source import load
from ibjax.programs import supervised
from tests.helpers import final_state, tiny_setup


@functools.partial(jax.jit, static_argnames=("channel", "train"))
def run(channel, params, state, features, train=False, key=1):
  return channel.apply(params, state, features, key=jax.random.key(key), train=train)


@functools.cache
def made(**hyper):
  """The same object for the same hyperparameters, so that it is compiled once."""
  return (gaussian if "prior" in hyper else distance_aware)(**hyper)


def filled(channel, n=64):
  """Parameters and the state after some updates on features of two kinds."""
  params, state = channel.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (n, channel.features))
  x = x.at[: n // 2, 0].add(4.0)
  for _ in range(5):
    _, state = run(channel, params, state, x, train=True)
  return params, state, x


def test_one_component_is_vib_with_a_learned_prior():
  channel = made(dim=3, components=1, covariance="diagonal")
  params, state, x = filled(channel)
  spread = (state["scatter"] + 1e-3) / (state["weight"][:, None] + 1e-3)
  prior = {"mean": params["mean"][0], "log_scale": 0.5 * jnp.log(spread[0])}
  code, _ = run(channel, params, state, x)
  expected, _ = run(made(dim=3, prior="learned"), prior, {}, x)
  np.testing.assert_allclose(code.rate, expected.rate, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(code.value, expected.value)
  np.testing.assert_allclose(code.aux["distance_nats"], code.rate, rtol=1e-6)


def test_full_covariance_equals_diagonal_where_it_is_diagonal():
  x = jax.random.normal(jax.random.key(0), (16, 6))
  narrow, wide = (made(dim=3, covariance=kind) for kind in ("diagonal", "full"))
  params, state = narrow.init(jax.random.key(2))
  _, state_full = wide.init(jax.random.key(2))
  both = [
    run(narrow, params, state, x)[0],
    run(wide, params, state_full, jnp.concatenate([x, jnp.zeros((16, 3))], axis=-1))[0],
  ]
  np.testing.assert_allclose(both[0].rate, both[1].rate, rtol=1e-5)
  np.testing.assert_allclose(both[0].value, both[1].value, rtol=1e-6)


def test_full_rate_equals_an_independent_computation():
  channel = made(dim=3, components=4, temperature=2.0)
  params, state, x = filled(channel)
  weight = np.asarray(state["weight"], np.float64) + 1e-3
  spreads = (np.asarray(state["scatter"], np.float64) + 1e-3 * np.eye(3)) / weight[:, None, None]
  prior, i = weight / weight.sum(), 5
  scale = np.logaddexp(0.0, np.asarray(x[i, 3:6], np.float64) - 5.0)
  unit = np.eye(3)
  unit[1, 0], unit[2, 0], unit[2, 1] = x[i, 6:]
  sigma = (scale[:, None] * unit) @ (scale[:, None] * unit).T
  kl = np.array(
    [
      0.5
      * (
        np.trace(np.linalg.solve(s, sigma))
        + d @ np.linalg.solve(s, d)
        - 3
        + np.linalg.slogdet(s)[1]
        - np.linalg.slogdet(sigma)[1]
      )
      for s, d in zip(spreads, np.asarray(x[i, :3] - params["mean"], np.float64))
    ]
  )
  q = prior * np.exp(-2.0 * (kl - kl.min()))
  q /= q.sum()
  code, _ = run(channel, params, state, x)
  np.testing.assert_allclose(code.aux["distance_nats"][i], q @ kl, rtol=1e-4)
  np.testing.assert_allclose(code.rate[i], q @ (kl + np.log(q / prior)), rtol=1e-4)


def test_rate_bounds_the_divergence_to_the_codebook_as_a_mixture():
  hyper = dict(dim=2, components=3, covariance="diagonal")
  _, state, x = filled(made(**hyper))
  params = {"mean": jnp.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])}
  x = x.at[:, 2:].add(5.0)  # noise as wide as the codebook: no component is sure
  weight = state["weight"] + 1e-3
  log_scale = 0.5 * jnp.log((state["scatter"] + 1e-3) / weight[:, None])

  @jax.jit
  def compare(temperature):
    def one(key):
      channel = distance_aware(temperature=temperature, **hyper)
      code, _ = channel.apply(params, state, x, key=key, train=False)
      marginal = mixture_log_prob(code.value, params["mean"], log_scale, jnp.log(weight))
      return jnp.mean(code.rate), jnp.mean(code.aux["log_prob"] - marginal)

    return jax.lax.map(one, jax.random.split(jax.random.key(3), 400))

  for temperature in (0.3, 1.0, 5.0):
    rates, found = compare(temperature)
    assert rates[0] > jnp.mean(found) + 4 * jnp.std(found) / 20


def test_no_gradient_through_the_assignment_or_the_statistics():
  channel = made(dim=3, components=4, temperature=2.0)
  params, state, x = filled(channel)

  def total(params, x, fixed):
    code, _ = run(channel, params, state, x)
    return jnp.sum(code.rate if fixed is None else code.aux["distance_nats"])

  # KL(q || pi) has no gradient, so the rate has the distance's.
  rate, distance = (jax.grad(total, (0, 1))(params, x, fixed) for fixed in (None, True))
  for a, b in zip(jax.tree.leaves(rate), jax.tree.leaves(distance)):
    np.testing.assert_array_equal(a, b)
  assert float(jnp.abs(rate[0]["mean"]).max()) > 0

  def of_state(x):
    return jnp.sum(run(channel, params, state, x, train=True)[1]["scatter"])

  assert float(jnp.abs(jax.grad(of_state)(x)).max()) == 0.0


def test_moving_averages_have_no_bias_of_their_start():
  # One update or many on the same batch: the same codebook, but for the smoothing.
  channel = made(dim=2, components=1, smoothing=1e-9)
  params, state = channel.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (256, channel.features))
  found = []
  for _ in range(3):
    _, state = run(channel, params, state, x, train=True)
    found.append(state["scatter"] / state["weight"][:, None, None])
  np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
  shift = np.asarray(x[:, :2] - params["mean"][0])
  # With K = 1 all weight is on it: the closed form is the mean second moment about the centroid.
  code_scale = np.logaddexp(0.0, np.asarray(x[:, 2:4]) - 5.0)
  factor = code_scale[:, :, None] * (
    np.eye(2) + np.asarray(x[:, 4])[:, None, None] * np.array([[0, 0], [1, 0]])
  )
  expected = np.mean(
    factor @ factor.transpose(0, 2, 1) + shift[:, :, None] * shift[:, None, :], axis=0
  )
  np.testing.assert_allclose(found[0][0], expected, rtol=1e-4, atol=1e-6)


def test_closed_form_covariance_minimises_the_rate():
  channel = made(dim=2, components=1, smoothing=1e-9)
  params, state = channel.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (64, channel.features))
  _, state = run(channel, params, state, x, train=True)
  gradient = jax.grad(
    lambda scatter: jnp.mean(run(channel, params, {**state, "scatter": scatter}, x)[0].rate)
  )(state["scatter"])
  np.testing.assert_allclose(gradient, 0.0, atol=1e-5)
  further = {**state, "scatter": 2.0 * state["scatter"]}
  rates = [float(jnp.mean(run(channel, params, s, x)[0].rate)) for s in (state, further)]
  assert rates[0] < rates[1]


def test_evaluation_leaves_the_codebook_as_it_is():
  channel = made(dim=3, components=4, temperature=2.0)
  params, state, x = filled(channel)
  _, after = run(channel, params, state, x, train=False)
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(after)):
    np.testing.assert_array_equal(a, b)


def test_distance_grows_away_from_what_was_seen():
  channel = made(dim=3, components=4, temperature=2.0)
  params, state, x = filled(channel)
  away = jnp.array([4.0, 8, 16, 32, 64, 128])
  features = jnp.zeros_like(x).at[:6, 0].set(away)
  distance = run(channel, params, state, features)[0].aux["distance_nats"][:6]
  assert (jnp.diff(distance) > 0).all()


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_finite_from_no_noise_to_all_noise(covariance):
  channel = made(dim=2, covariance=covariance)
  params, state = channel.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (8, channel.features))

  @jax.jit
  def all_of(raw):
    def total(params, x):
      code, new = run(channel, params, state, x.at[:, 2:4].set(raw), train=True)
      return jnp.sum(code.rate), new

    return jax.value_and_grad(total, (0, 1), has_aux=True)(params, x)

  for raw in (-1e4, -80.0, 80.0, 1e4):
    assert all(bool(jnp.isfinite(value).all()) for value in jax.tree.leaves(all_of(raw)))


def test_the_cubic_is_what_is_left_without_noise(tmp_path):
  splits = load("toy:cubic:n=2000,noise=0,width=10,gap=4", tmp_path).splits
  for name, inner in (("train", 2.0), ("test", 0.0)):
    data = splits[name].read(np.arange(2000))
    x = np.float64(data["x"])
    np.testing.assert_allclose(data["y"], x**3, rtol=1e-5)
    assert np.abs(x).min() == pytest.approx(inner, abs=0.01) and np.abs(x).max() <= 5.0
  with pytest.raises(ConfigError, match=r"gap=8 must be finite and in \[0.0, 7.2\]"):
    load("toy:cubic:gap=8", tmp_path)


def test_a_trained_regression_is_unsure_beyond_its_data(tmp_path):
  duration = "500 steps"
  setup = tiny_setup(path="configs/uncertainty/dab_toy.py", train__duration=duration)
  state = final_state(setup, tmp_path)
  encoder, channel, _, _ = supervised.parts(setup.config, setup.spec, {})
  x = jnp.linspace(-8.0, 8.0, 65)[:, None]
  features, _ = encoder.apply(
    state.params["encoder"], state.states["encoder"], x, key=None, train=False
  )
  code, _ = run(channel, state.params["bottleneck"], state.states["bottleneck"], features)
  distance, inside = code.aux["distance_nats"], jnp.abs(x[:, 0]) <= 4.0
  # The training inputs lie in [-4, 4]. Every input beyond 6 is further than every one in there.
  assert distance[jnp.abs(x[:, 0]) >= 6.0].min() > distance[inside].max()
