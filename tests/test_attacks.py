"""Errors under attack and in the targets' unit, and the compression of a code, of known models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.data.feed import read_all
from ibjax.evaluators.attacks import attacks, projected_gradient
from ibjax.evaluators.compression import compression
from ibjax.evaluators.robustness import fast_gradient_sign
from ibjax.evaluators.target_errors import target_errors
from ibjax.programs.hyper import traced
from ibjax.train.assessing import assessor
from ibjax.train.setup import build
from tests.helpers import tiny

X = np.random.default_rng(0).uniform(-1, 1, (60, 5)).astype(np.float32)
W = np.float32([0.5, -1.0, 0.0, 2.0, 0.25])
LABELS = X @ W > 0.2


def linear_regression(scale=(10.0,), **changes):
  """y' = w.x, whose targets are 0.3 above it."""
  y = (X @ W + 0.3)[:, None]
  fields = dict(
    data=lambda name, split: {"x": X, "y": y},
    forward=lambda x: {"prediction": (x @ W)[:, None], "code": x[:, :2]},
    gradient=lambda x, y: -2.0 * (y - (x @ W)[:, None]) * W,
    value_range=None,
    num_classes=0,
    label_probs=np.zeros(0),
    seed=0,
    config={},
    target_scale=scale,
  )
  return Trained(**{**fields, **changes})


def logistic(value_range=None):
  """Two classes with the margin w.x + 0.1; the labels are the signs of w.x - 0.2."""
  y = LABELS.astype(np.int32)

  def forward(x):
    margin = np.asarray(x) @ W + 0.1
    return {"prediction": -np.logaddexp(0, np.stack([margin, -margin], -1)), "code": x}

  def gradient(x, y):
    sign = 1.0 - 2.0 * y  # class 0 loses when the margin grows
    margin = x @ W + 0.1
    return (sign / (1 + np.exp(-sign * margin)))[:, None] * W

  return linear_regression(
    scale=(),
    data=lambda name, split: {"x": X, "y": y},
    forward=forward,
    gradient=gradient,
    num_classes=2,
    value_range=value_range,
  )


def test_the_error_of_a_linear_regression_under_attack_is_its_closed_form():
  # The worst point of the box moves the prediction by epsilon |w|_1, away from the target.
  found = attacks(epsilons=(0.1, 0.3), step=0.05, steps=5)(linear_regression())
  l1 = np.abs(W).sum()
  expected = dict(
    clean_rmse=3.0,
    **{
      "fgsm_0.1_rmse": 10 * (0.3 + 0.1 * l1),
      "pgd_0.1_rmse": 10 * (0.3 + 0.1 * l1),
      "fgsm_0.3_rmse": 10 * (0.3 + 0.3 * l1),
      "pgd_0.3_rmse": 10 * (0.3 + 0.25 * l1),  # five steps of 0.05 end at 0.25
    },
  )
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)


def test_the_error_of_a_linear_classifier_under_attack_is_its_closed_form():
  found = attacks(epsilons=(0.1,), step=0.05, steps=3)(logistic())
  margin, label = X @ W + 0.1, LABELS
  worst = np.where(label, margin, -margin) - 0.1 * np.abs(W).sum()
  np.testing.assert_allclose(found["clean_err_frac"], np.mean((margin > 0) != label))
  assert found["fgsm_0.1_err_frac"] == found["pgd_0.1_err_frac"] == np.mean(worst < 0)
  assert 0 < found["clean_err_frac"] < found["pgd_0.1_err_frac"] < 1


def test_pixels_stay_in_their_range_and_epsilon_is_in_units_of_zero_to_one():
  # In [-1, 1] a size of 0.1 is 0.2; coordinates at the edge cannot move out of it.
  wide = attacks(epsilons=(0.1,), step=0.05, steps=1)(logistic((-1.0, 1.0)))
  label = LABELS
  away = np.where(label, -1.0, 1.0)[:, None] * np.sign(W)
  for method, length in (("fgsm", 0.2), ("pgd", 0.1)):
    moved = np.clip(X + length * away, -1, 1) @ W + 0.1
    assert wide[f"{method}_0.1_err_frac"] == np.mean((moved > 0) != label)
  attacked = projected_gradient(lambda x: np.ones_like(x), X, 0.5, 0.3, 4, (-1.0, 1.0))
  np.testing.assert_allclose(attacked, np.minimum(X + 0.5, 1.0), rtol=1e-6)


def test_one_step_of_the_whole_size_is_the_fast_gradient_sign_method():
  loss = lambda x: jnp.sum(jnp.sin(3 * x) * W, axis=-1)
  gradient = jax.grad(lambda x: jnp.sum(loss(x)))
  for limits in ((-1.0, 1.0), (-9.0, 9.0)):
    found = projected_gradient(gradient, X, 0.2, 0.2, 1, limits)
    np.testing.assert_allclose(found, fast_gradient_sign(loss, X, 0.2, *limits), atol=1e-7)


def test_steps_find_what_one_step_passes_over():
  # A narrow hill at 0.12: one step of 0.3 lands behind it, steps of 0.05 end beside its top.
  gradient = lambda x: -2.0 * (x - 0.12)
  far = projected_gradient(gradient, np.zeros((1, 1)), 0.3, 0.3, 1)
  near = projected_gradient(gradient, np.zeros((1, 1)), 0.3, 0.05, 8)
  assert abs(float(far[0, 0]) - 0.12) > 0.15 and abs(float(near[0, 0]) - 0.12) <= 0.05


def test_a_random_start_is_the_runs_own_and_stays_in_the_box():
  seen = []

  def forward(x):
    seen.append(np.asarray(x))
    return {"prediction": (x @ W)[:, None]}

  given = dict(methods=("pgd",), epsilons=(0.2,), step=0.0, random_start=True)
  one, again, other = (
    attacks(**given)(linear_regression(forward=forward, seed=seed)) for seed in (0, 0, 1)
  )
  assert one == again != other
  moved = seen[1] - X
  assert np.abs(moved).max() <= 0.2 + 1e-6 and 0.08 < moved.std() < 0.15  # 0.4 / sqrt(12)


def test_errors_are_in_the_unit_of_the_targets():
  found = target_errors()(linear_regression())
  y = 10 * (X @ W + 0.3)
  np.testing.assert_allclose(found["test_rmse"], 3.0, rtol=1e-5)
  np.testing.assert_allclose(found["test_mae"], 3.0, rtol=1e-5)
  np.testing.assert_allclose(found["test_explained_frac"], 1 - 9.0 / y.var(), rtol=1e-4)
  np.testing.assert_allclose(
    target_errors()(linear_regression(scale=()))["test_rmse"], 0.3, rtol=1e-5
  )
  with pytest.raises(InputError, match="these data have 2 classes"):
    target_errors()(logistic())


def test_compression_lies_between_a_constant_and_the_input_itself():
  def ratio(code, **aux):
    trained = linear_regression(forward=lambda x: {"code": code(x), **aux})
    return compression()(trained)["qmi_ratio"]

  np.testing.assert_allclose(ratio(lambda x: x), 1.0, rtol=1e-5)
  np.testing.assert_allclose(ratio(lambda x: 7.0 * x), 1.0, rtol=1e-4)  # the scale is not seen
  assert ratio(lambda x: np.zeros((len(x), 2), np.float32)) == 0.0
  rng = np.random.default_rng(1)
  independent = rng.normal(size=(60, 2)).astype(np.float32)
  assert 0 <= ratio(lambda x: independent) < 0.2 < ratio(lambda x: x[:, :2]) < 0.9
  # The noise of a stochastic code counts: loud noise leaves little.
  loud, soft = (ratio(lambda x: x, log_scale=np.full((60, 5), s)) for s in (2.0, -5.0))
  assert loud < 0.3 < 0.95 < soft < 1.0


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (dict(methods=("fgms",)), "Did you mean 'fgsm'"),
    (dict(epsilons=(-0.1,)), "epsilon is -0.1"),
    (dict(steps=0), "steps is 0"),
    (dict(epsilons=()), "at least one attack"),
  ],
)
def test_attacks_that_make_no_sense_are_refused(given, message):
  with pytest.raises(InputError, match=message):
    attacks(**given)


def test_a_model_of_a_run_is_measured_in_the_unit_of_its_source():
  """Rotated digits: uint8 inputs, targets in degrees, a stochastic code; nothing is trained."""
  asked = {
    "errors": dict(fn="ibjax.evaluators.target_errors:target_errors"),
    "attacks": dict(fn="ibjax.evaluators.attacks:attacks", epsilons=(0.1,), examples=100),
    "code": dict(fn="ibjax.evaluators.compression:compression", examples=100),
  }
  config = tiny(data__source="rotated_mnist:n=256,n_validation=10,n_test=128")
  setup = build({**config, "assess": asked})
  state = jax.jit(setup.program.init)(traced(setup.config))
  found = assessor(setup)(setup.config, state)
  degrees = read_all(setup.splits["test"])["y"] * setup.source.target_scale[0]
  # The predictions of a model at its start are small beside the angles.
  np.testing.assert_allclose(found["errors"]["test_rmse"], np.sqrt(np.mean(degrees**2)), rtol=0.2)
  tried = found["attacks"]
  assert 20 < tried["clean_rmse"] < tried["pgd_0.1_rmse"] < 50
  assert 0 < found["code"]["qmi_ratio"] < 1
