"""Encoders in blocks, and the channels of structured objectives, against exact answers."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.bottlenecks.ard_gaussian import ard_gaussian
from ibjax.bottlenecks.nested_dropout import nested_dropout
from ibjax.bottlenecks.product_of_experts import product_of_experts
from ibjax.bottlenecks.structured_gaussian import structured_gaussian
from ibjax.core.errors import ConfigError, DataError, IbjaxError
from ibjax.core.numerics import gaussian_kl, inverse_softplus
from ibjax.data.source import load
from ibjax.models.gated_mlp import gated_mlp
from ibjax.models.mlp import mlp
from ibjax.models.parallel_mlp import parallel_mlp
from ibjax.models.per_feature_mlp import per_feature_mlp
from ibjax.models.twin_mlp import twin_mlp
from ibjax.views.feature_groups import feature_groups

DATA = pathlib.Path(os.environ.get("IBJAX_DATA_DIR", "/nonexistent"))


def key(number=0):
  return jax.random.key(number)


# Encoders.


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_each_feature_has_an_ordinary_network_of_its_own(activation):
  model = per_feature_mlp(groups=(2, 1, 3), hidden=(5, 4), out=12, activation=activation)
  x = jax.random.normal(key(1), (7, 6))
  params, state = model.init(key(), x)
  out, _ = model.apply(params, state, x, key=None, train=False)
  alone = mlp(hidden=(5, 4), out=4, activation=activation)
  for group, columns in enumerate([slice(0, 2), slice(2, 3), slice(3, 6)]):
    own = jax.tree.map(lambda leaf, g=group: leaf[g], params)
    own["dense_0"]["kernel"] = own["dense_0"]["kernel"][: columns.stop - columns.start]
    expected, _ = alone.apply(own, {}, x[:, columns], key=None, train=False)
    found = out.reshape(7, 2, 3, 2)[:, :, group].reshape(7, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_all_branches_read_the_whole_input():
  model = parallel_mlp(branches=3, hidden=(5,), out=6, parts=1)
  x = jax.random.normal(key(1), (7, 2, 2))
  params, state = model.init(key(), x)
  out, _ = model.apply(params, state, x, key=None, train=False)
  for branch in range(3):
    own = jax.tree.map(lambda leaf, b=branch: leaf[b], params)
    expected, _ = mlp(hidden=(5,), out=2).apply(own, {}, x, key=None, train=False)
    np.testing.assert_allclose(out[:, 2 * branch : 2 * branch + 2], expected, rtol=1e-5, atol=1e-6)


def test_blocks_that_do_not_fit_are_refused():
  with pytest.raises(IbjaxError, match="cover 5 values, and an input has 4"):
    per_feature_mlp(groups=(2, 3), out=4).init(key(), jnp.zeros((1, 4)))
  with pytest.raises(IbjaxError, match="multiple of 4 features"):
    per_feature_mlp(groups=(2, 2), out=6).init(key(), jnp.zeros((1, 4)))
  with pytest.raises(IbjaxError, match="multiple of 6 features"):
    parallel_mlp(branches=3, out=8)
  with pytest.raises(IbjaxError, match="an odd number"):
    twin_mlp(out=5)


def test_a_gates_penalty_is_the_least_kl_over_zero_mean_priors():
  model = gated_mlp(hidden=(), out=3)
  params, state = model.init(key(), jnp.zeros((1, 2)))
  gate = {"mean": jnp.array([0.5, -2.0, 0.0]), "log_variance": jnp.array([0.3, -1.0, 0.0])}
  params["dense_0"]["gate"] = gate
  _, state = model.apply(params, state, jnp.zeros((1, 2)), key=None, train=False)
  log_prior = jnp.linspace(-3.0, 3.0, 6001)[:, None, None]  # a grid, and no closed form
  axis = gate["mean"][:, None], 0.5 * gate["log_variance"][:, None]
  least = jnp.min(gaussian_kl(*axis, jnp.zeros(1), log_prior), axis=0)
  np.testing.assert_allclose(state["kl_nats"], jnp.sum(least), rtol=1e-5)
  np.testing.assert_allclose(state["metrics"]["pruned_frac"], 2 / 3)  # 0.25 < e^0.3, and 0


def test_gates_are_noisy_in_training_alone_with_the_variance_they_say():
  model = gated_mlp(hidden=(), out=1, init_log_variance=float(np.log(0.25)))
  x = jnp.ones((20_000, 1))
  params, state = model.init(key(), x)
  params["dense_0"]["kernel"] = jnp.full((1, 1), 2.0)
  noisy, _ = model.apply(params, state, x, key=key(1), train=True)
  np.testing.assert_allclose(np.mean(noisy), 2.0, atol=0.03)
  np.testing.assert_allclose(np.var(noisy), 4 * 0.25, rtol=0.03)
  quiet, _ = model.apply(params, state, x, key=key(1), train=False)
  np.testing.assert_array_equal(quiet, jnp.full((20_000, 1), 2.0))


def test_views_keep_whole_groups_and_at_least_one():
  x = jnp.ones((2000, 6))
  for keep, expected in [(0.0, 1 / 3), (0.5, 0.5 + 0.125 / 3)]:  # none of three: 1/8
    found = np.asarray(feature_groups(groups=(1, 2, 3), keep=keep)(x, key()))
    kept = found[:, [0, 1, 3]]
    np.testing.assert_array_equal(found, np.repeat(kept, [1, 2, 3], axis=1))
    assert kept.sum(axis=1).min() == 1.0
    np.testing.assert_allclose(kept.mean(axis=0), expected, atol=0.04)
  with pytest.raises(IbjaxError, match="cover 3 values, and an input has 6"):
    feature_groups(groups=(1, 2))(x, key())


# Nested dropout.


def widths(channel, draws=4000):
  apply = jax.vmap(
    lambda k: channel.apply({}, {}, jnp.ones((2, channel.features)), key=k, train=True)
  )
  code, _ = apply(jax.random.split(key(), draws))
  kept = np.asarray(code.value.sum(-1))
  assert (kept[:, 0] == kept[:, 1]).all(), "one width for the whole batch"
  np.testing.assert_array_equal(kept, code.aux["width"])
  return kept[:, 0].astype(int)


def test_widths_are_drawn_from_half_a_gaussian_without_the_half():
  found = np.bincount(widths(nested_dropout(dim=6, center=1.0, spread=2.0)), minlength=7)[1:]
  p = np.exp(-(((np.arange(1, 7) - 1.0) / 2.0) ** 2))
  np.testing.assert_allclose(found / found.sum(), p / p.sum(), atol=0.03)


def test_concepts_are_blocks_of_channels():
  assert set(widths(nested_dropout(dim=8, concepts=4, spread=1e3), 200)) == {2, 4, 6, 8}
  assert set(widths(nested_dropout(dim=5, concepts=2, spread=1e3), 200)) == {3, 5}
  with pytest.raises(IbjaxError, match="9 concepts of order and 8 dimensions"):
    nested_dropout(dim=8, concepts=9)
  with pytest.raises(IbjaxError, match="spread is 0"):
    nested_dropout(dim=8, spread=0.0)


def test_a_linear_autoencoder_finds_the_principal_directions_in_order():
  """Rippel et al. 2014: with nested dropout the optimum is PCA itself, not its subspace."""
  rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
  root = jnp.asarray(rotation * np.array([2.0, 1.4, 1.0, 0.6]), jnp.float32)  # x = root u, u white
  channel, u = nested_dropout(dim=4, spread=4.0), 2.0 * jnp.eye(4)  # covariance of u: the identity
  x = u @ root.T
  adam = optax.adam(optax.cosine_decay_schedule(0.05, 3000))
  params = {"in": 0.5 * jax.random.normal(key(1), (4, 4)), "out": jnp.eye(4)}

  def loss(params, k):
    code, _ = channel.apply({}, {}, x @ params["in"], key=k, train=True)
    return jnp.sum(jnp.square(code.value @ params["out"] - x))

  def step(carry, k):
    params, state = carry
    updates, state = adam.update(jax.grad(loss)(params, k), state)
    return (optax.apply_updates(params, updates), state), None

  keys = jax.random.split(key(2), 3000)
  (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))((params, adam.init(params)))
  directions = params["out"] / jnp.linalg.norm(params["out"], axis=1, keepdims=True)
  np.testing.assert_allclose(np.abs(directions @ rotation), np.eye(4), atol=0.02)


# Gaussian channels.


def test_the_product_is_the_posterior_of_two_noisy_sensors():
  channel = product_of_experts(dim=1, experts=2, scale_shift=0.0)
  seen, noise = np.array([1.5, -0.5]), np.array([0.7, 0.4])
  raw = [inverse_softplus(float(s)) for s in noise]
  code, _ = channel.apply({}, {}, jnp.array([[*seen, *raw]]), key=key(), train=False)
  # z ~ N(0, 1) and x = (z, z) + noise: p(z | x) by the formula for conditional Gaussians.
  covariance = np.ones((2, 2)) + np.diag(noise**2)
  gain = np.linalg.solve(covariance, np.ones(2))
  np.testing.assert_allclose(code.aux["mean"][0, 0], gain @ seen, rtol=1e-5)
  np.testing.assert_allclose(np.exp(2 * code.aux["log_scale"][0, 0]), 1 - gain.sum(), rtol=1e-5)
  alone = product_of_experts(dim=1, experts=1, scale_shift=0.0)
  first, _ = alone.apply({}, {}, jnp.array([[seen[0], raw[0]]]), key=key(), train=False)
  np.testing.assert_allclose(code.aux["expert_rate"][0, 0], first.rate[0], rtol=1e-5)


def test_a_prior_variance_is_best_at_the_second_moment():
  channel = ard_gaussian(dim=3)
  params, state = channel.init(key())
  features = jax.random.normal(key(1), (50, 6)) * jnp.array([1.0, 2.0, 3.0, 1.0, 1.0, 1.0])

  def apply(log_alpha):
    given = {**params, "log_alpha": log_alpha}
    return channel.apply(given, state, features, key=key(2), train=True)[0]

  code = apply(jnp.zeros(3))
  moment = jnp.mean(code.aux["mean"] ** 2 + jnp.exp(2 * code.aux["log_scale"]), axis=0)
  slope = jax.grad(lambda a: jnp.mean(apply(a).rate))
  np.testing.assert_allclose(slope(jnp.log(moment)), jnp.zeros(3), atol=1e-6)
  assert (jnp.abs(slope(jnp.log(moment) + 0.1)) > 0.01).all()
  # There the average rate is log(alpha) / 2 - E[log s].
  expected = jnp.sum(0.5 * jnp.log(moment) - jnp.mean(code.aux["log_scale"], axis=0))
  np.testing.assert_allclose(jnp.mean(apply(jnp.log(moment)).rate), expected, rtol=1e-5)


def test_only_dimensions_that_carry_something_are_sent():
  channel = ard_gaussian(dim=2, threshold_nats=0.05, decay=0.5)
  params, state = channel.init(key())
  mean = jax.random.normal(key(1), (30, 2)) * jnp.array([1.0, 0.0])
  raw = jnp.broadcast_to(jnp.array([0.0, inverse_softplus(1.0) + 5.0]), (30, 2))
  features = jnp.concatenate([mean, raw], axis=1)
  code, state = channel.apply(params, state, features, key=key(2), train=True)
  sent, after = channel.apply(params, state, features, key=key(2), train=False)
  assert sent.aux["active"].tolist() == [True, False]
  np.testing.assert_array_equal(sent.value[:, 1], jnp.zeros(30))
  np.testing.assert_allclose(sent.value[:, 0], code.value[:, 0])
  np.testing.assert_allclose(sent.rate, code.rate, atol=1e-5)  # the second one cost nothing
  assert jax.tree.map(jnp.array_equal, after, state) == {"rate": True, "seen": True}
  np.testing.assert_allclose(state["rate"] / state["seen"], [jnp.mean(code.rate), 0.0], atol=1e-5)


def test_orthogonality_is_the_distance_of_the_projection_from_a_rotation():
  channel = ard_gaussian(dim=2)
  params, state = channel.init(key())
  gap = lambda w: channel.apply(
    {**params, "projection": w}, state, jnp.ones((1, 4)), key=key(), train=False
  )[0].aux["orthogonality"]
  turn = jnp.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
  np.testing.assert_allclose(gap(turn), 0.0, atol=1e-12)
  np.testing.assert_allclose(gap(jnp.array([[2.0, 0.0], [0.0, 1.0]])), 9.0)  # (4 - 1)^2


def test_stages_follow_the_number_of_training_batches():
  channel = structured_gaussian(dim=1, auxiliaries=2, main_steps=3.0, auxiliary_steps=2.0)
  params, state = channel.init(key())
  params = {"weights": jnp.array([0.5, 0.25, 2.0])}
  features = jnp.array([[1.0, 10.0, 100.0, -30.0, -30.0, -30.0]])
  found, apply = [], jax.jit(lambda s: channel.apply(params, s, features, key=key(), train=True))
  for _ in range(9):
    code, state = apply(state)
    found.append((int(code.aux["stage"]), round(float(code.value[0, 0]), 3)))
  mixed = 0.5 + 2.5 + 200.0
  assert found == [(0, 1.0)] * 3 + [(1, 10.0)] * 2 + [(2, 100.0)] * 2 + [(3, mixed)] * 2
  code, kept = channel.apply(params, state, features, key=key(), train=False)
  assert int(kept["step"]) == 9 and float(code.value[0, 0]) == pytest.approx(mixed)


def test_a_mixture_of_codes_has_the_variance_of_the_sum():
  channel = structured_gaussian(dim=1, auxiliaries=1, scale_shift=0.0)
  state = channel.init(key())[1]
  raw = [inverse_softplus(0.5), inverse_softplus(2.0)]
  features = jnp.tile(jnp.array([[1.0, -1.0, *raw]]), (40_000, 1))
  params = {"weights": jnp.array([0.8, 0.3])}
  code, _ = channel.apply(params, state, features, key=key(), train=False)
  np.testing.assert_allclose(np.mean(code.value), code.aux["mean"][0, 0], atol=0.01)
  np.testing.assert_allclose(np.std(code.value), np.exp(code.aux["log_scale"][0, 0]), rtol=0.01)


# Sources.


def test_the_circuit_says_what_its_inputs_tell():
  source = load("circuit")
  table = source.splits["train"].read(np.arange(1024))
  x, y = table["x"] > 0, table["y"]
  assert source.splits["test"].n == 1024 and set(np.unique(table["x"])) == {-1.0, 1.0}
  entropy = lambda p: sum(-q * np.log(q) for q in (p, 1 - p) if q > 0)
  tells = [
    entropy(y.mean()) - np.mean([entropy(y[x[:, i] == b].mean()) for b in (0, 1)])
    for i in range(10)
  ]
  np.testing.assert_allclose(source.information_nats, entropy(y.mean()))
  assert tells[0] > 5 * tells[1] > 5 * tells[3] > 0 and tells[1] == pytest.approx(tells[2])
  np.testing.assert_allclose(tells[6:], 0.0, atol=1e-12)
  with pytest.raises(ConfigError, match="takes no argument"):
    load("circuit:3")


@pytest.mark.skipif(not (DATA / "uci_mfeat" / "mfeat.npz").exists(), reason="no uci_mfeat here")
def test_mfeat_is_standardised_by_its_training_rows():
  source = load("mfeat", DATA)
  assert source.x_shape == (649,) and np.bincount(source.train_labels).tolist() == [160] * 10
  train = source.splits["train"].read(np.arange(1600))["x"]
  np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-4)
  spread = train.std(axis=0)
  assert (np.isclose(spread, 1.0, atol=1e-3) | (spread == 0.0)).all()
  part = load("mfeat:zer+mor", DATA).splits["train"].read(np.arange(1600))["x"]
  np.testing.assert_array_equal(part, np.hstack([train[:, 602:649], train[:, 356:362]]))


def test_mfeat_says_what_is_wrong(tmp_path):
  with pytest.raises(DataError, match="numpy.savez"):
    load("mfeat", tmp_path)
  with pytest.raises(ConfigError, match="'zer'"):
    load("mfeat:zar", tmp_path)
  with pytest.raises(ConfigError, match="twice"):
    load("mfeat:zer+zer", tmp_path)
  (tmp_path / "uci_mfeat").mkdir()
  np.savez(tmp_path / "uci_mfeat" / "mfeat.npz", y=np.zeros(2000))
  with pytest.raises(DataError, match="lacks the arrays"):
    load("mfeat", tmp_path)
