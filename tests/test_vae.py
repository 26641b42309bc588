"""Autoencoding: sources, the objective, collapse, and a learned linear model against the exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, InputError
from ibjax.core.types import Code, ObjectiveSpec, Outputs, Trained
from ibjax.data.feed import read_all
from ibjax.data.source import load
from ibjax.evaluators.collapse import collapse
from ibjax.exact.linear_vae import linear_vae
from ibjax.objectives.generative.beta_vae import beta_vae
from ibjax.train.assessing import assessor
from tests.helpers import final_state, tiny_setup

LINEAR = "configs/generative/linear_vae_gaussian.py"


def test_the_inputs_are_the_targets():
  inner, source = load("digits"), load("autoencode:digits")
  rows = np.array([3, 1, 2])
  given, found = (s.splits["test"].read(rows) for s in (inner, source))
  np.testing.assert_array_equal(found["x"], given["x"])
  assert found["x"].dtype == np.uint8 and found["y"].dtype == np.float32
  np.testing.assert_allclose(found["y"] * 255.0, given["x"].reshape(3, -1), atol=1e-4)
  assert source.target_dim == 64 and source.num_classes == 0 and not len(source.train_labels)
  assert source.fingerprint != inner.fingerprint
  floats = load("autoencode:gaussian:train=10,test=5").splits["test"].read(rows)
  np.testing.assert_array_equal(floats["x"], floats["y"])
  with pytest.raises(ConfigError, match="autoencode:mnist"):
    load("autoencode")


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_likelihood_is_normalised(likelihood):
  objective = beta_vae(beta=1.0, likelihood=likelihood, decoder_scale=0.7)
  params, state = objective.init(None, ObjectiveSpec(jnp.zeros(0), 1, target_dim=1))
  y = np.linspace(-5, 6, 4001)[:, None] if likelihood == "gaussian" else np.eye(2)[:, :1]
  step = y[1] - y[0] if likelihood == "gaussian" else 1.0
  code = Code(jnp.zeros((len(y), 1)), jnp.zeros(len(y)), None, {})
  outputs = Outputs(code, jnp.full((len(y), 1), 0.4))
  terms = objective.loss(params, state, outputs, {"y": jnp.float32(y)}, None, 0)
  total = np.sum(np.exp(-np.asarray(terms.losses["distortion_nats"].value, np.float64))) * step
  np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_a_learned_scale_goes_to_the_root_mean_square_error():
  objective = beta_vae(learned_scale=True)
  _, state = objective.init(None, ObjectiveSpec(jnp.zeros(0), 1, target_dim=3))
  y = jax.random.normal(jax.random.key(0), (50, 3)) * 0.2
  outputs = Outputs(Code(jnp.zeros((50, 1)), jnp.zeros(50), None, {}), jnp.zeros((50, 3)))

  def loss(log_scale):
    terms = objective.loss({"log_scale": log_scale}, state, outputs, {"y": y}, None, 0)
    return jnp.mean(terms.losses["distortion_nats"].value)

  best = jnp.log(jnp.sqrt(jnp.mean(jnp.square(y))))
  np.testing.assert_allclose(jax.grad(loss)(best), 0.0, atol=1e-3)
  assert loss(best) < loss(best + 0.1) and loss(best) < loss(best - 0.1)


def test_a_code_without_a_rate_is_refused():
  outputs = Outputs(Code(jnp.zeros((1, 1)), None, None, {}), jnp.zeros((1, 1)))
  with pytest.raises(InputError, match=r"beta_vae needs a rate.*gaussian:gaussian"):
    beta_vae().loss({}, {}, outputs, {"y": jnp.zeros((1, 1))}, None, 0)


def posterior(mean, scale):
  return Trained(
    data=lambda name, split: {"x": np.zeros((len(mean), 1)), "y": np.zeros(len(mean))},
    forward=lambda x: {"mean": np.float32(mean), "log_scale": np.log(np.float32(scale))},
    gradient=lambda x, y: x,
    value_range=None,
    num_classes=0,
    label_probs=np.zeros(0),
    seed=0,
    config={},
  )


def test_collapse_counts_units():
  n = 1000
  sign = np.where(np.arange(n) % 2, 1.0, -1.0)
  rare = np.where(np.arange(n) < 5, 3.0, 0.0)  # 5 in a thousand examples away from the prior
  mean = np.stack([sign, np.zeros(n), rare, 0.05 * sign, np.zeros(n)], axis=1)
  scale = np.tile([0.5, 1.0, 1.0, 1.0, 0.5], (n, 1))
  found = collapse(epsilon=1e-2, delta=0.01)(posterior(mean, scale))
  # The first is in use; the last has a narrow posterior that is the same for all inputs.
  assert found["active_units"] == 2 and found["collapsed_units"] == 3
  assert collapse(epsilon=1e-2, delta=0.0)(posterior(mean, scale))["collapsed_units"] == 2
  assert collapse(epsilon=1e-4, delta=0.01)(posterior(mean, scale))["collapsed_frac"] == 0.4
  narrow = 0.5 * (0.25 - 1.0) + np.log(2.0)
  kl = 0.5 + narrow + 0.5 * 9 * 0.005 + 0.5 * 0.0025 + narrow
  np.testing.assert_allclose(found["kl_nats"], kl, rtol=1e-5)


def test_collapse_says_what_it_needs():
  trained = posterior(np.zeros((2, 1)), np.ones((2, 1)))
  with pytest.raises(InputError, match="mean and scale of a Gaussian code"):
    collapse()(trained._replace(forward=lambda x: {"code": x}))


@pytest.mark.slow
def test_a_learned_linear_model_meets_the_exact_thresholds(tmp_path):
  setup = tiny_setup(path=LINEAR, train__duration="500 epochs", optimizer__learning_rate=0.05)
  state = final_state(setup, tmp_path / "run")
  x = read_all(setup.splits["train"])["x"]
  eigenvalues = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]
  exact = linear_vae(np.sqrt(eigenvalues))
  decoder = np.linalg.svd(state.ema["decoder"]["dense_0"]["kernel"], compute_uv=False)
  used = ~exact.collapsed
  assert used.sum() == 4
  np.testing.assert_allclose(decoder[used] ** 2 + 1.0, eigenvalues[used], rtol=0.02)
  assert np.all(decoder[~used] < 0.1)
  noise = np.sort(np.logaddexp(0.0, state.ema["bottleneck"]["noise"]))
  np.testing.assert_allclose(noise, exact.scale, rtol=0.02)
  found = assessor(setup)(setup.config, state)["collapse"]
  assert found["active_units"] == 4 and found["collapsed_units"] == 4
