"""The Gaussian information bottleneck: formulas, data, and our bounds on its curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ibjax.bottlenecks.gaussian import gaussian
from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError
from ibjax.core.numerics import inverse_softplus
from ibjax.core.types import ObjectiveSpec, Outputs
from ibjax.data.source import load
from ibjax.data.sources.gaussian import parse
from ibjax.exact.gaussian_ib import curve, gaussian_ib, informations, projection
from ibjax.objectives.variational.vib import vib
from ibjax.train import loop
from ibjax.train.setup import build
from tests.helpers import final_state, load_config, tiny_setup

TASK = parse("dx=5,dy=4,rho=0.95/0.8/0.6,seed=3,train=400,test=300")
PROBLEM = gaussian_ib(*TASK.covariances())


def log_det(matrix):
  return np.linalg.slogdet(matrix)[1]


def by_log_dets(code):
  """(I(X;T), I(T;Y)) of T = A X + noise, from the joint covariances alone."""
  cov_x, cov_xy, cov_y = TASK.covariances()
  noise = np.eye(len(code))
  cov_t = code @ cov_x @ code.T + noise
  cov_ty = code @ cov_xy
  joint = np.block([[cov_t, cov_ty], [cov_ty.T, cov_y]])
  return 0.5 * log_det(cov_t), 0.5 * (log_det(cov_t) + log_det(cov_y) - log_det(joint))


def test_eigenvalues_are_those_of_the_papers_matrix():
  cov_x, cov_xy, cov_y = TASK.covariances()
  matrix = (cov_x - cov_xy @ np.linalg.inv(cov_y) @ cov_xy.T) @ np.linalg.inv(cov_x)
  expected = np.sort(np.linalg.eigvals(matrix).real)
  np.testing.assert_allclose(PROBLEM.eigenvalues, expected, rtol=1e-9)
  np.testing.assert_allclose(expected, 1 - np.array([0.95, 0.8, 0.6, 0, 0]) ** 2, rtol=1e-9)
  for value, row in zip(PROBLEM.eigenvalues, PROBLEM.directions):
    np.testing.assert_allclose(row @ matrix, value * row, atol=1e-9)
    np.testing.assert_allclose(row @ cov_x @ row, 1.0, rtol=1e-9)


@pytest.mark.parametrize("beta", [1.05, 1.2, 1.6, 3.0, 10.0, 1e3])
def test_the_formulas_are_the_log_determinants_of_the_projection(beta):
  rate, kept = informations(PROBLEM, beta)
  np.testing.assert_allclose(by_log_dets(projection(PROBLEM, beta)), (rate, kept), atol=1e-9)
  np.testing.assert_allclose(curve(PROBLEM, np.array(rate)), kept, atol=1e-9)
  used = int(np.sum(np.any(projection(PROBLEM, beta) != 0, axis=1)))
  assert used == int(np.sum(beta > PROBLEM.critical_betas))


def test_limits_of_beta():
  first = PROBLEM.critical_betas[0]
  np.testing.assert_allclose(first, 1 / 0.95**2)
  assert informations(PROBLEM, 0.999 * first) == (0.0, 0.0)
  assert not projection(PROBLEM, 0.999 * first).any()
  assert informations(PROBLEM, 1.001 * first)[0] > 0
  np.testing.assert_allclose(PROBLEM.information_nats, TASK.information_nats(), rtol=1e-9)
  np.testing.assert_allclose(by_log_dets(1e6 * PROBLEM.directions)[1], TASK.information_nats())
  np.testing.assert_allclose(informations(PROBLEM, 1e9)[1], TASK.information_nats(), rtol=1e-6)
  np.testing.assert_allclose(curve(PROBLEM, np.array([0.0, 1e3])), [0.0, TASK.information_nats()])


def test_the_curve_is_concave_and_its_slope_is_one_over_beta():
  rates = np.linspace(0, 9, 2001)
  slope = np.diff(curve(PROBLEM, rates)) / np.diff(rates)
  assert np.all(np.diff(slope) < 1e-9) and slope[0] < 0.95**2 and np.all(slope > 0)
  for beta in (1.2, 1.5, 2.0, 3.0, 20.0):
    rate = informations(PROBLEM, beta)[0]
    local = np.diff(curve(PROBLEM, np.array([rate - 1e-5, rate + 1e-5])))[0] / 2e-5
    np.testing.assert_allclose(local, 1 / beta, rtol=1e-5)


@pytest.mark.parametrize("beta", [1.3, 2.0, 8.0])
def test_no_linear_encoder_that_an_optimiser_finds_beats_the_optimum(beta):
  def lagrangian(flat):
    rate, kept = by_log_dets(flat.reshape(3, 5))
    return rate - beta * kept

  rate, kept = informations(PROBLEM, beta)
  rng = np.random.default_rng(0)
  found = [minimize(lagrangian, rng.normal(size=15)).fun for _ in range(3)]
  assert min(found) >= rate - beta * kept - 1e-9
  np.testing.assert_allclose(min(found), rate - beta * kept, atol=1e-5)
  for scale in (0.1, 1.0, 10.0):  # nor does any encoder, wherever it is
    rate, kept = by_log_dets(scale * rng.normal(size=(4, 5)))
    assert kept <= curve(PROBLEM, np.array(rate)) + 1e-12


def test_pairs_that_have_no_finite_information_are_refused():
  one = np.eye(1)
  with pytest.raises(ValueError, match="not positive definite"):
    gaussian_ib(one, one, one)
  with pytest.raises(ValueError, match=r"cov_y \[1, 1\], expected \[1, 1\] and \[2, 2\]"):
    gaussian_ib(one, np.zeros((1, 2)), one)
  with pytest.raises(ValueError, match="at least 0"):
    curve(PROBLEM, np.array([-0.1]))


# The data.


def test_the_rows_have_the_covariance_that_the_task_states():
  task = parse("test=100000")
  x, y = task.draw(task.test, 2)
  rows = np.concatenate([x, y], axis=1).astype(np.float64)
  cov_x, cov_xy, cov_y = task.covariances()
  exact = np.block([[cov_x, cov_xy], [cov_xy.T, cov_y]])
  error = np.sqrt((np.outer(np.diag(exact), np.diag(exact)) + exact**2) / len(rows))
  assert np.max(np.abs(rows.T @ rows / len(rows) - exact) / error) < 4.5
  assert np.max(np.abs(rows.mean(0)) / np.sqrt(np.diag(exact) / len(rows))) < 4.5
  # Nothing lies along an axis: every pair of coordinates is correlated.
  assert np.min(np.abs(exact)) > 1e-4


def test_the_source_knows_its_entropy_and_gives_the_same_rows_again():
  argument = "dx=5,dy=4,rho=0.95/0.8/0.6,seed=3,train=400,test=300"
  source = load(f"gaussian:{argument}")
  assert (source.target_dim, source.x_shape) == (4, (5,))
  assert (source.splits["train"].n, source.splits["test"].n) == (400, 300)
  expected = 0.5 * log_det(2 * np.pi * np.e * TASK.covariances()[2])
  np.testing.assert_allclose(source.target_entropy_nats, expected, rtol=1e-9)
  rows = source.splits["train"].read(np.arange(400))
  again = load(f"gaussian:{argument}")
  np.testing.assert_array_equal(rows["y"], again.splits["train"].read(np.arange(400))["y"])
  assert source.fingerprint == again.fingerprint
  assert source.fingerprint != load(f"gaussian:{argument.replace('seed=3', 'seed=4')}").fingerprint
  assert not np.array_equal(rows["x"][:300], source.splits["test"].read(np.arange(300))["x"])


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("dz=3", "Did you mean 'd[xy]'"),
    ("dx=three", "dx='three', expected a whole number"),
    ("rho=0.9/x", "numbers joined by slashes"),
    ("rho=0.9/1.0", "each in"),
    ("dy=2", "at most 2 correlations"),
    ("train=0", "must be at least 1"),
    ("seed=-1", "must be at least 0"),
  ],
)
def test_an_argument_that_does_not_fit_is_explained(argument, message):
  with pytest.raises(ConfigError, match=message):
    load(f"gaussian:{argument}")


# Our bounds on the exact curve.


@pytest.mark.parametrize("beta", [0.5, 0.1, 0.03])
def test_the_bounds_of_vib_meet_the_curve_at_the_exact_optimum(beta):
  """The optimal encoder and decoder, put through our channel and objective, lie on the curve."""
  cov_x, cov_xy, cov_y = TASK.covariances()
  code = projection(PROBLEM, 1 / beta)
  # The noise is 1 and the variances differ by direction: scaled to the standard prior.
  scale = 1 / np.sqrt(np.diag(code @ cov_x @ code.T) + 1)
  encoder = scale[:, None] * code
  decoder = cov_xy.T @ encoder.T  # E[y|z] for z of unit covariance
  factor = np.linalg.cholesky(cov_y - decoder @ decoder.T)
  params = {
    "covariance": {
      "log_diagonal": jnp.array(np.log(np.diag(factor))),
      "lower": jnp.array(factor),
    }
  }
  n = 200_000
  x, y = TASK.draw(n, 7)
  channel = gaussian(dim=5, shared_scale=True, scale_shift=0.0)
  noise = {"noise": jnp.array([inverse_softplus(s) for s in scale])}
  features = jnp.array(x @ encoder.T)
  z, _ = channel.apply(noise, {}, features, key=jax.random.key(0), train=True)
  spec = ObjectiveSpec(jnp.zeros(0), 5, 4, TASK.target_entropy_nats())
  objective = vib(beta=beta)
  _, state = objective.init(None, spec)
  outputs = Outputs(z, z.value @ jnp.array(decoder.T))
  terms = objective.loss(params, state, outputs, {"y": jnp.array(y)}, None, 0)
  rate, kept = informations(PROBLEM, 1 / beta)
  found = {"rate": np.asarray(z.rate), "kept": np.asarray(terms.metrics["i_yz_lower_nats"])}
  for name, exact in (("rate", rate), ("kept", kept)):
    error = found[name].std() / np.sqrt(n)
    assert error < 0.01
    assert abs(found[name].mean() - exact) < 4 * error, name


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.5, 0.1])
def test_the_trained_recipe_lies_on_the_curve(beta, tmp_path):
  config = load_config("configs/variational/vib_gaussian.py")
  config.objective.beta = beta
  setup = build(resolved(config), devices=jax.devices()[:1])
  _, lines, _ = loop.train(setup, tmp_path)
  lines.close()
  task = parse(config.data.source.partition(":")[2])
  problem = gaussian_ib(*task.covariances())
  test = lines.last["test"]
  gap = curve(problem, np.array(test["rate_nats"])) - test["i_yz_lower_nats"]
  error = np.sqrt(task.dy / 2 / task.test)  # a Gaussian's -log density has the variance dy / 2
  assert -3 * error < gap < 0.01
  np.testing.assert_allclose(test["rate_nats"], informations(problem, 1 / beta)[0], rtol=0.01)


def test_a_shared_scale_is_learned_and_the_same_for_every_input(tmp_path):
  setup = tiny_setup(path="configs/variational/vib_gaussian.py", train__duration="30 steps")
  state = final_state(setup, tmp_path)
  assert state.params["bottleneck"]["noise"].shape == (4,)
  assert np.all(state.params["bottleneck"]["noise"] != 0)
  assert state.params["encoder"]["dense_0"]["kernel"].shape == (8, 4)
