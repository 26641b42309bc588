"""Weights with a distribution: against direct draws, exact linear regression, and their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.stats

from ibjax.core.errors import ConfigError, InputError
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.data.source import load
from ibjax.models.bayes_mlp import bayes_mlp
from ibjax.objectives.bayesian.elbo import elbo
from ibjax.programs.frame import combine
from ibjax.train import loop
from tests.helpers import tiny_setup

BAYES = "configs/bayesian/bayes_toy.py"


def layer(mean, bias, scale):
  mean = {"kernel": jnp.array(mean, jnp.float32), "bias": jnp.array(bias, jnp.float32)}
  return {"mean": mean, "log_scale": jax.tree.map(lambda m: jnp.full_like(m, np.log(scale)), mean)}


def test_the_kl_is_that_of_every_weight_and_bias():
  model = bayes_mlp(hidden=(3,), out=2, prior_scale=0.7)
  params, _ = model.init(jax.random.key(0), jnp.zeros((1, 4)))
  params = jax.tree.map(lambda p: p + 0.3, params)
  _, state = model.apply(params, {}, jnp.ones((1, 4)), key=jax.random.key(1), train=True)
  total, count = 0.0, 0
  for one in params.values():
    for name in ("kernel", "bias"):
      mean, scale = np.float64(one["mean"][name]), np.exp(np.float64(one["log_scale"][name]))
      total += (np.log(0.7 / scale) + (scale**2 + mean**2) / (2 * 0.7**2) - 0.5).sum()
      count += mean.size
  assert count == 4 * 3 + 3 + 3 * 2 + 2
  np.testing.assert_allclose(state["kl_nats"], total, rtol=1e-5)


def test_a_row_is_distributed_as_under_one_draw_of_all_weights():
  # Local draws of pre-activations against draws of the weights themselves, two layers deep.
  n, x = 200_000, jnp.array([[1.0, -2.0]])
  model = bayes_mlp(hidden=(2,), out=1)
  params = {
    "dense_0": layer([[0.5, -0.3], [0.2, -0.6]], [0.1, 0.2], 0.4),
    "dense_1": layer([[1.0], [-0.5]], [0.3], 0.3),
  }
  rows, _ = model.apply(params, {}, jnp.tile(x, (n, 1)), key=jax.random.key(0), train=False)

  def direct(key):
    k = iter(jax.random.split(key, 4))
    draw = lambda one: jax.tree.map(
      lambda m, s: m + jnp.exp(s) * jax.random.normal(next(k), m.shape),
      one["mean"],
      one["log_scale"],
    )
    first, second = draw(params["dense_0"]), draw(params["dense_1"])
    hidden = jax.nn.relu(x @ first["kernel"] + first["bias"])
    return (hidden @ second["kernel"] + second["bias"])[0, 0]

  drawn = jax.vmap(direct)(jax.random.split(jax.random.key(1), n))
  # The critical value of the two-sample test at one in a million is 2.69 sqrt(2 / n).
  assert scipy.stats.ks_2samp(rows[:, 0], drawn).statistic < 2.69 * np.sqrt(2 / n)


def test_rows_draw_apart_and_a_key_fixes_them():
  model = bayes_mlp(hidden=(8,), out=2, init_scale=0.5)
  params, _ = model.init(jax.random.key(0), jnp.zeros((1, 3)))
  run = lambda seed: model.apply(params, {}, jnp.ones((4, 3)), key=jax.random.key(seed), train=True)
  out = run(0)[0]
  assert len(np.unique(out[:, 0])) == 4
  np.testing.assert_array_equal(out, run(0)[0])
  assert not np.array_equal(out, run(1)[0])


@pytest.mark.parametrize("log_scale", [-200.0, -40.0, 10.0])
def test_gradients_are_finite_from_no_spread_to_much(log_scale):
  model = bayes_mlp(hidden=(4,), out=2)
  params, _ = model.init(jax.random.key(0), jnp.zeros((1, 3)))
  for one in params.values():
    one["log_scale"] = jax.tree.map(lambda s: jnp.full_like(s, log_scale), one["log_scale"])

  def loss(params):
    x = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    out, state = model.apply(params, {}, x, key=jax.random.key(1), train=True)
    return jnp.sum(out) + state["kl_nats"]

  value, grads = jax.value_and_grad(loss)(params)
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
  ("hyper", "message"),
  [
    (dict(prior_scale=0.0), "prior_scale is 0"),
    (dict(init_scale=-1.0), "init_scale is -1"),
    (dict(hidden=(0,)), "width is 0"),
  ],
)
def test_bayes_mlp_refuses_what_cannot_be(hyper, message):
  with pytest.raises(InputError, match=message):
    bayes_mlp(**hyper)


# Bayesian linear regression on an orthogonal design: the posterior factorises, so the mean-field
# family holds it, and the evidence is a Gaussian density.

NOISE, PRIOR = 0.5, 0.8
DESIGN = np.float64(scipy.linalg.hadamard(8))[:, :4]  # the column of ones is the bias
TARGETS = DESIGN @ [0.4, -1.0, 0.7, 0.1] + NOISE * np.random.default_rng(0).normal(size=8)


def posterior():
  precision = len(DESIGN) / NOISE**2 + 1 / PRIOR**2
  return DESIGN.T @ TARGETS / NOISE**2 / precision, precision**-0.5


def log_evidence():
  covariance = NOISE**2 * np.eye(8) + PRIOR**2 * DESIGN @ DESIGN.T
  return scipy.stats.multivariate_normal(cov=covariance).logpdf(TARGETS)


def negative_elbo(params, key, draws):
  """Of all 8 examples: the Gaussian NLL averaged over draws, plus the model's own KL."""
  model = bayes_mlp(hidden=(), out=1, prior_scale=PRIOR)
  x = jnp.tile(jnp.array(DESIGN[:, 1:], jnp.float32), (draws, 1))
  out, state = model.apply(params, {}, x, key=key, train=True)
  y = jnp.tile(jnp.array(TARGETS, jnp.float32), draws)
  nll = 0.5 * jnp.square((out[:, 0] - y) / NOISE) + jnp.log(NOISE) + 0.5 * jnp.log(2 * jnp.pi)
  return jnp.sum(nll) / draws + state["kl_nats"]


def test_at_the_exact_posterior_the_bound_is_the_evidence():
  mean, scale = posterior()
  params = {"dense_0": layer(mean[1:, None], mean[:1], scale)}
  exact = float(negative_elbo(params, jax.random.key(0), 100_000))
  np.testing.assert_allclose(exact, -log_evidence(), atol=0.03)
  for moved in (
    layer(mean[1:, None] + 0.2, mean[:1], scale),
    layer(mean[1:, None], mean[:1], scale * 2),
  ):
    assert negative_elbo({"dense_0": moved}, jax.random.key(0), 100_000) > exact + 0.1


def test_training_recovers_the_exact_posterior():
  model = bayes_mlp(hidden=(), out=1, prior_scale=PRIOR)
  params, _ = model.init(jax.random.key(0), jnp.zeros((1, 3)))
  steps = 1500
  optimizer = optax.adam(optax.cosine_decay_schedule(0.03, steps))

  def update(carry, key):
    params, state = carry
    grads = jax.grad(negative_elbo)(params, key, 64)
    updates, state = optimizer.update(grads, state)
    return (optax.apply_updates(params, updates), state), None

  keys = jax.random.split(jax.random.key(1), steps)
  (params, _), _ = jax.jit(lambda c: jax.lax.scan(update, c, keys))(
    (params, optimizer.init(params))
  )
  mean, scale = posterior()
  found = params["dense_0"]
  np.testing.assert_allclose(found["mean"]["kernel"][:, 0], mean[1:], atol=0.01)
  np.testing.assert_allclose(found["mean"]["bias"], mean[:1], atol=0.01)
  for log_scale in jax.tree.leaves(found["log_scale"]):
    np.testing.assert_allclose(np.exp(log_scale), scale, rtol=0.03)


# The objective and the program.


def test_elbo_is_the_bound_over_batches():
  # The mean over the batches of an epoch of n_batch * loss * batches = the bound of the whole set.
  objective = elbo()
  logits = jax.random.normal(jax.random.key(0), (6, 3))
  y = jnp.array([0, 1, 2, 0, 1, 2])
  _, state = objective.init(jax.random.key(0), ObjectiveSpec(jnp.full(3, 1 / 3), 1, n_train=6))

  def loss(rows):
    code = Code(jnp.zeros((len(rows), 1)), None, None, {})
    outputs = Outputs(code, logits[rows], parameter_kl=jnp.float32(5.0))
    terms = objective.loss({}, state, outputs, {"y": y[rows]}, None, 0)
    return combine(terms, jnp.ones(len(rows), bool))[0][0]

  nll = -jax.nn.log_softmax(logits)[jnp.arange(6), y].sum()
  np.testing.assert_allclose(6 * loss(jnp.arange(6)), nll + 5.0, rtol=1e-6)
  parts = np.mean([loss(jnp.arange(i, i + 2)) for i in (0, 2, 4)])
  np.testing.assert_allclose(6 * parts, nll + 5.0, rtol=1e-6)


def test_elbo_refuses_weights_without_a_distribution():
  objective = elbo()
  _, state = objective.init(jax.random.key(0), ObjectiveSpec(jnp.full(3, 1 / 3), 1, n_train=6))
  outputs = Outputs(Code(jnp.zeros((1, 1)), None, None, {}), jnp.zeros((1, 3)))
  with pytest.raises(InputError, match="needs a model with a distribution over its weights"):
    objective.loss({}, state, outputs, {"y": jnp.array([0])}, None, 0)


def trained(steps=50, path=BAYES, **overrides):
  setup = tiny_setup(path=path, **overrides)
  state = setup.runner.init(setup.hyper)
  feed = setup.train_feed()
  (table,) = feed.tables(iter([(0, steps)]))
  return setup, setup.runner.run(state, feed.data, table, np.int32(steps), setup.hyper)


def test_the_program_pays_for_encoder_and_decoder_over_all_training_examples():
  setup, state = trained(1)
  metrics = loop.evaluate(setup, state, setup.eval_feed("train"))
  kl = 0.0
  for name, shape in (("encoder", (1, 2)), ("decoder", (1, 50))):
    section = {k: v for k, v in setup.config[name].items() if k not in ("fn", "hidden")}
    hidden = tuple(setup.config[name]["hidden"])
    model = bayes_mlp(**section, hidden=hidden, out=50 if name == "encoder" else 2)
    kl += model.apply(state.params[name], {}, jnp.zeros(shape), key=None, train=False)[1]["kl_nats"]
  np.testing.assert_allclose(metrics["parameter_kl_nats"], kl, rtol=1e-5)
  bound = metrics["distortion_nats"] + kl / setup.splits["train"].n
  np.testing.assert_allclose(metrics["loss_nats"], bound, rtol=1e-5)


def test_every_sample_of_an_example_draws_the_weights_anew():
  # By Jensen the NLL of the average is below the average NLL, strictly if the samples differ; with
  # decoder weights that are sure, they differ by the encoder's draws alone.
  setup, state = trained(20, eval__samples=4)
  sure = jax.tree.map(lambda p: p, state.params)
  sure["decoder"]["dense_0"]["log_scale"] = jax.tree.map(
    lambda s: jnp.full_like(s, -30.0), sure["decoder"]["dense_0"]["log_scale"]
  )
  metrics = loop.evaluate(setup, state._replace(params=sure), setup.eval_feed("test"))
  assert metrics["nll_nats"] < metrics["distortion_nats"] - 1e-3


def test_n_train_leaves_out_the_validation_examples():
  setup = tiny_setup(path=BAYES, data__validation=150, data__batch_size=50)
  assert setup.spec.n_train == 250
  state = setup.runner.init(setup.hyper)
  assert state.states["objective"]["n_train"] == 250


# The toy problems.


def whole(split):
  return split.read(np.arange(split.n))


def test_moons_lie_on_their_half_circles_without_noise(tmp_path):
  data = whole(load("toy:moons:n=101,noise=0,flip=0", tmp_path).splits["train"])
  x, y = np.float64(data["x"]), data["y"]
  assert sorted(np.bincount(y)) == [50, 51]
  centre = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
  np.testing.assert_allclose(np.linalg.norm(x - centre, axis=-1), 1.0, rtol=1e-6)
  assert (x[y == 0, 1] >= 0).all() and (x[y == 1, 1] <= 0.5).all()


def test_moons_flip_the_labels_they_are_told_to(tmp_path):
  clean, noisy = (
    whole(load(f"toy:moons:n=20000,flip={flip}", tmp_path).splits["train"]) for flip in (0, 0.25)
  )
  np.testing.assert_array_equal(clean["x"], noisy["x"])
  share = np.mean(clean["y"] != noisy["y"])
  assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 20000)


def test_moons_of_another_seed_share_the_test_split_only(tmp_path):
  one, two, again = (load(f"toy:moons:n=50,seed={s}", tmp_path) for s in (1, 2, 1))
  assert one.fingerprint == again.fingerprint != two.fingerprint
  test = [whole(source.splits["test"])["x"] for source in (one, two)]
  np.testing.assert_array_equal(*test)
  first, second = (whole(source.splits["train"])["x"] for source in (one, two))
  assert not (first[:, None] == second).all(axis=-1).any()
  zero = load("toy:moons:n=4000,seed=0", tmp_path).splits  # as many as test, so no other order
  rows = [set(map(tuple, whole(zero[name])["x"].tolist())) for name in ("train", "test")]
  assert not rows[0] & rows[1]


def test_the_sine_is_what_is_left_without_noise_and_the_gap_is_in_training_alone(tmp_path):
  splits = load("toy:sine:n=4000,noise=0,gap=1.5", tmp_path).splits
  for name, inner, rtol in (("train", 0.75, 0.02), ("test", 0.0, 0.02)):
    data = whole(splits[name])
    x, y = np.float64(data["x"]), np.float64(data["y"])
    assert x.shape == y.shape == (4000, 1) and data["y"].dtype == np.float32
    np.testing.assert_allclose(y, 5.0 * np.sin(2.0 * x), atol=1e-5)
    # Uniform on both sides of the gap: the extremes are met, and so is the mean distance.
    assert np.abs(x).min() == pytest.approx(inner, abs=0.01) and np.abs(x).max() <= 2.0
    assert np.abs(x).mean() == pytest.approx((inner + 2.0) / 2, rel=rtol)
    assert np.mean(x > 0) == pytest.approx(0.5, abs=0.04)


def test_the_noise_of_the_sine_is_as_it_is_told(tmp_path):
  data = whole(load("toy:sine:n=20000,noise=0.3", tmp_path).splits["train"])
  residual = np.float64(data["y"]) - 5.0 * np.sin(2.0 * np.float64(data["x"]))
  assert residual.std() == pytest.approx(0.3, rel=5 / np.sqrt(2 * 20000))


@pytest.mark.parametrize("name", ["empirical", "vib", "bayes"])
def test_every_method_learns_the_regression_too(name):
  path = f"configs/bayesian/{name}_toy.py"
  source = "toy:sine:n=60,seed=0"
  setup, state = trained(50, path=path, data__source=source, data__batch_size=60)
  before = loop.evaluate(setup, setup.runner.init(setup.hyper), setup.eval_feed("train"))
  after = loop.evaluate_train_split(setup, state)["train_split"]
  assert after["loss_nats"] < before["loss_nats"] and np.isfinite(after["nll_nats"])


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("toy:mons", "Did you mean 'moons'"),
    ("toy", "unknown toy problem"),
    ("toy:moons:sed=1", "Did you mean 'seed'"),
    ("toy:moons:n=1.5", "n='1.5' is not a whole number"),
    ("toy:moons:noise=x", "noise='x' is not a number"),
    ("toy:moons:flip=0.6", r"flip=0.6 must be finite and in \[0.0, 0.5\]"),
    ("toy:moons:noise=inf", "noise=inf must be finite"),
    ("toy:moons:noise=nan", "noise=nan must be finite"),
    ("toy:moons:n=1", "n=1 must be finite and >= 2"),
    ("toy:sine:flip=0.1", "unknown key of toy:sine 'flip'"),
    ("toy:sine:gap=3.9", r"gap=3.9 must be finite and in \[0.0, 3.6\]"),
  ],
)
def test_toy_problems_that_cannot_be_are_refused(tmp_path, spec, message):
  with pytest.raises(ConfigError, match=message):
    load(spec, tmp_path)
