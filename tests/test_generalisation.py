"""The generalisation bound by information: its estimates, the assessor, and the program."""

import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError, InputError
from ibjax.core.numerics import gaussian_kl
from ibjax.core.resolver import resolve
from ibjax.core.types import DataSpec, Trained
from ibjax.data import feed, source
from ibjax.evaluators import generalisation as bound
from ibjax.programs import generalisation as program
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.penalized_sgd import penalized_sgd
from ibjax.train.assessing import assessor
from ibjax.train.setup import build
from tests.helpers import VIB, load_config

TASKS = "toy:blobs:n=20,n_test=50,classes=2,box=4,seed={seed}"


def config(**changes):
  made = load_config("configs/generalisation/ib_blobs.py", "smoke")
  made.data.tasks = TASKS
  made.training.steps = 6
  made.training.average_from = 0.5
  for key, value in changes.items():
    made.update_from_flattened_dict({key.replace("__", "."): value})
  return resolved(made)


# Estimates.


def test_kl_of_pairs_is_that_of_the_numerics():
  rng = np.random.default_rng(0)
  mean, log_scale = rng.normal(size=(2, 5, 3))
  found = bound.pairwise_kl(mean + 1e4, log_scale)  # far from 0: no digits are lost
  for i in range(5):
    known = gaussian_kl(*(jnp.asarray(v) for v in (mean[i], log_scale[i], mean, log_scale)))
    np.testing.assert_allclose(found[i], known, rtol=1e-4, atol=1e-6)


def test_what_a_draw_says_of_its_gaussian_lies_between_nothing_and_its_number():
  same = bound.index_information(np.zeros((4, 4)))
  assert same == {"pairwise_upper_nats": 0.0, "jensen_upper_nats": 0.0}
  # Two unit Gaussians at distance 2, by integrating over the line.
  z = np.linspace(-12, 14, 20001)
  p = np.exp(-0.5 * (z - np.array([[0.0], [2.0]])) ** 2) / math.sqrt(2 * math.pi)
  exact = float(np.mean(np.sum(p * np.log(p / p.mean(0)), axis=1)) * (z[1] - z[0]))
  found = bound.index_information(bound.pairwise_kl(np.array([[0.0], [2.0]]), np.zeros((2, 1))))
  assert exact <= found["pairwise_upper_nats"] <= min(math.log(2), found["jensen_upper_nats"])
  assert found["jensen_upper_nats"] == 1.0


@pytest.mark.parametrize("dim", [1, 3])
def test_information_beyond_the_label_of_a_gaussian_channel(dim):
  # Within a class the mean of the code is N(0, I) and the noise 0.5: 1/2 log(1 + 4) a dimension.
  rng, per_class = np.random.default_rng(dim), 700
  y = np.repeat([0, 1], per_class)
  mean = rng.normal(size=(2 * per_class, dim)) + 60.0 * y[:, None]
  scale = np.full(mean.shape, math.log(0.5))
  exact = 0.5 * dim * math.log(5.0)
  found = bound.conditional_information(mean, scale, y, jax.random.key(0))
  assert found["i_xz_y_lower_nats"] == pytest.approx(exact, abs=0.06 * dim)
  assert found["i_xz_y_loo_upper_nats"] == pytest.approx(exact, abs=0.06 * dim)
  assert found["i_xz_y_lower_nats"] < found["i_xz_y_loo_upper_nats"]
  # KL of two draws: their squared distance, 2 a dimension, over twice the noise's variance.
  assert found["i_xz_y_jensen_upper_nats"] == pytest.approx(4.0 * dim, rel=0.08)
  # The chain rule: the classes are far apart, so the code knows the label besides.
  label = found["i_xz_lower_nats"] - found["i_xz_y_lower_nats"]
  assert label == pytest.approx(math.log(2), abs=1e-4)


def test_classes_count_by_their_share():
  # Class 0: two codes apart (log 2), three times as many examples as class 1: all alike (0).
  mean = np.array([[0.0], [99.0]] * 3 + [[500.0]] * 2)
  y = np.array([0] * 6 + [1] * 2)
  found = bound.conditional_information(mean, np.zeros((8, 1)), y, jax.random.key(1))
  assert found["i_xz_y_lower_nats"] == pytest.approx(0.75 * math.log(2), abs=1e-5)


def test_noise_that_fits_is_of_the_size_of_the_clusters():
  rng = np.random.default_rng(0)
  clusters = 10.0 * rng.normal(size=(20, 4))
  code = np.repeat(clusters, 20, axis=0) + 0.3 * rng.normal(size=(400, 4))
  assert 0.15 < bound.likeliest_noise(code) < 0.6
  assert bound.likeliest_noise(2.0 * code) == pytest.approx(2.0 * bound.likeliest_noise(code))
  assert bound.likeliest_noise(np.ones((5, 2))) == 1.0


# The assessor.


def trained(forward, num_classes=2):
  rng = np.random.default_rng(0)
  splits = {
    name: {"x": rng.normal(size=(n, 1)).astype(np.float32), "y": np.arange(n) % 2}
    for name, n in (("train", 10), ("test", 60))
  }
  return Trained(
    data=lambda name, split: splits[split],
    forward=forward,
    gradient=None,
    value_range=None,
    num_classes=num_classes,
    label_probs=np.full(2, 0.5),
    seed=0,
    config={},
  )


def log_probs(x):
  right = (np.arange(len(x)) % 2)[:, None] == np.arange(2)
  sure = 0.9 if len(x) == 10 else 0.6  # surer on the ten examples of training
  return np.log(np.where(right, sure, 1 - sure))


def test_the_assessor_reports_gap_and_information():
  model = trained(lambda x: {"prediction": log_probs(x), "mean": x, "log_scale": 0 * x, "code": x})
  found = bound.generalisation_bound()(model)
  assert found["gap_nats"] == pytest.approx(math.log(0.9 / 0.6))
  assert found["gap_err_frac"] == 0.0
  assert found["leading_fixed"] == pytest.approx(math.sqrt(found["i_xz_y_lower_nats"] / 10))
  assert "noise" not in found
  few = bound.generalisation_bound(examples=20)(model)
  assert few["i_xz_y_lower_nats"] != found["i_xz_y_lower_nats"]


def test_a_deterministic_code_gets_noise():
  model = trained(lambda x: {"prediction": log_probs(x), "code": x})
  given = bound.generalisation_bound(noise=0.5)(model)
  assert given["noise"] == 0.5
  assert bound.generalisation_bound()(model)["noise"] == bound.likeliest_noise(
    model.data("", "test")["x"]
  )
  less = bound.generalisation_bound(noise=0.05)(model)
  assert less["i_xz_y_lower_nats"] > given["i_xz_y_lower_nats"] > 0.3


def test_it_is_asked_for_by_a_config():
  asked = resolved(load_config(VIB, "smoke"))
  asked["assess"] = {
    "bound": {"fn": "ibjax.evaluators.generalisation:generalisation_bound", "examples": 200}
  }
  setup = build(asked)
  found = assessor(setup)(setup.config, setup.runner.init(setup.hyper))["bound"]
  assert {"gap_nats", "gap_err_frac", "leading_fixed", "i_xz_y_lower_nats"} <= found.keys()
  assert all(np.isfinite(value) for value in found.values())
  assert abs(found["gap_nats"]) < 0.5  # nothing is learned yet, so nothing by heart


def test_what_it_cannot_measure_is_refused():
  with pytest.raises(InputError, match="real-valued targets"):
    bound.generalisation_bound()(trained(None, num_classes=0))
  with pytest.raises(InputError, match="noise is 0, expected a number greater than 0"):
    bound.generalisation_bound(noise=0.0)
  with pytest.raises(InputError, match="class 1 has 1 example"):
    zeros = np.zeros((3, 1))
    bound.conditional_information(zeros, zeros, np.array([0, 0, 1]), jax.random.key(0))
  with pytest.raises(InputError, match="i_phi_s_nats is -1"):
    bound.leading_term(1.0, -1.0, 5)


# The program.


def test_momentum_with_a_penalty_by_hand():
  sgd = penalized_sgd(0.1, l2=0.5, momentum=0.9)
  weight, state, speed = jnp.array([2.0]), sgd.init(jnp.array([2.0])), 0.0
  by_hand = 2.0
  for _ in range(3):
    update, state = sgd.update(jnp.array([1.0]), state, weight)
    weight = weight + update
    speed = 0.9 * speed + (1.0 + 0.5 * by_hand)
    by_hand -= 0.1 * speed
  assert float(weight[0]) == pytest.approx(by_hand, rel=1e-6)


def test_posteriors_are_the_moments_of_the_weights_along_the_way():
  recipe = {**config()["recipe"], "seed": 3}
  sources = [source.load(TASKS.format(seed=k), None) for k in range(3)]
  splits = [feed.read_all(one.splits["train"]) for one in sources]
  test = feed.read_all(sources[0].splits["test"])["x"]
  spec = DataSpec((2,), np.dtype("float32"), 2, np.full(2, 0.5), 1, 6, n_train=20)
  x, y = (jnp.stack([one[name] for one in splits]) for name in ("x", "y"))
  hyper = hyper_lib.traced(recipe)
  found = program._trainer(recipe, spec, 3, 3)(hyper, x, y, jnp.asarray(test))
  built = resolve(recipe["program"])(recipe, None, spec)
  step = jax.jit(built.step)
  for k in range(3):
    own = {**hyper, "seed": np.int32(3 * program.STRIDE + k)}
    state, seen = built.init(hyper), []
    for _ in range(6):
      state = step(state, {"x": x[k], "y": y[k], "mask": jnp.ones(20, bool)}, own)
      seen.append(np.asarray(ravel_pytree(state.params)[0], np.float64))
    np.testing.assert_allclose(found["mean"][k], np.mean(seen[3:], axis=0), atol=2e-6)
    np.testing.assert_allclose(found["variance"][k], np.var(seen[3:], axis=0), rtol=1e-3, atol=1e-9)
  sizes = {name: ravel_pytree(state.params[name])[0].size for name in state.params}
  assert int(found["is_encoder"].sum()) == sizes["encoder"] + sizes["bottleneck"]


def measured(asked):
  measurement = program.generalisation(asked)
  return measurement.summarize({part: measurement.measure(part) for part in measurement.parts})


def test_networks_that_do_not_learn_say_nothing_of_their_samples():
  row = measured(config(recipe__optimizer__learning_rate=0.0))
  assert row["i_phi_s_jensen_upper_nats"] == row["i_theta_s_pairwise_upper_nats"] == 0.0
  assert row["leading_learned"] == row["leading_fixed"]


def test_the_row_holds_together():
  row = measured(config())
  assert row["gap_nats"] == pytest.approx(row["test_nll_nats"] - row["train_nll_nats"])
  assert row["gap_err_frac"] == pytest.approx(row["test_err_frac"] - row["train_err_frac"])
  # More parameters say more; no mixture of three says more than which of the three it was.
  assert 0 < row["i_phi_s_jensen_upper_nats"] < row["i_theta_s_jensen_upper_nats"]
  assert 0 < row["i_phi_s_pairwise_upper_nats"] <= math.log(3) + 1e-9
  total = row["i_xz_y_lower_nats"] + row["i_phi_s_jensen_upper_nats"]
  assert row["leading_learned"] == pytest.approx(math.sqrt(total / 20), rel=1e-5)
  assert measured(config()) == row
  assert measured(config(seed=1))["gap_nats"] != row["gap_nats"]


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("data.tasks", "toy:blobs:n=20,seed=0", "gives one sample; write '{seed}'"),
    ("data.tasks", "toy:sine:n=20,seed={seed}", "real-valued targets"),
    ("data.n", 1, "data.n is 1, expected a number at least 2"),
    ("training.average_from", 1.0, r"average_from is 1, expected a number in \[0, 1\)"),
    ("training.variance_floor", 0.0, "variance_floor is 0"),
    ("recipe.objective.beta", -1.0, "beta is -1"),
  ],
)
def test_bad_configs_are_refused_before_training(key, value, message):
  asked = copy.deepcopy(config())
  *path, leaf = key.split(".")
  section = asked
  for name in path:
    section = section[name]
  section[leaf] = value
  with pytest.raises((ConfigError, InputError), match=message):
    program.generalisation(asked)


# The blobs.


def test_every_seed_is_another_sample_of_the_same_blobs():
  one, two, moved = (
    source.load(f"toy:blobs:n=500,n_test=500,seed={seed},centers={centers}", None)
    for seed, centers in ((0, 0), (1, 0), (0, 1))
  )
  rows = [feed.read_all(each.splits["train"]) for each in (one, two, moved)]
  assert one.num_classes == 5 and one.fingerprint != two.fingerprint
  assert np.bincount(rows[0]["y"]).tolist() == [100] * 5
  centers = [np.stack([r["x"][r["y"] == c].mean(0) for c in range(5)]) for r in rows]
  assert np.abs(centers[0] - centers[1]).max() < 0.5  # 0.7 / 10 each, of ten coordinates
  assert np.abs(centers[0] - centers[2]).max() > 1.0
  spread = [rows[0]["x"][rows[0]["y"] == c].std(0) for c in range(5)]
  np.testing.assert_allclose(spread, 0.7, rtol=0.25)
  tests = [feed.read_all(each.splits["test"])["x"] for each in (one, two)]
  np.testing.assert_array_equal(*tests)
  with pytest.raises(ConfigError, match="classes"):
    source.load("toy:blobs:classes=1", None)
