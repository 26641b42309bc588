"""Scores of averaged predictions, and the averages of averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ibjax.core.errors import ConfigError, InputError
from ibjax.evaluators.calibration import brier_score, expected_calibration_error
from ibjax.evaluators.classification import classification, mean_log_probs
from ibjax.evaluators.regression import regression
from ibjax.evaluators.robustness import check_epsilons, fast_gradient_sign
from ibjax.evaluators.summary import summarize
from ibjax.metrics.mean import add, finalize, mean_state
from ibjax.train import loop
from tests.helpers import tiny_setup


def test_probabilities_are_averaged_not_logits():
  # One sample is sure of class 0, two lean to class 1: the mean probability decides.
  probs = np.array([[[0.98, 0.02]], [[0.4, 0.6]], [[0.4, 0.6]]])
  scores = classification(jnp.log(probs), jnp.array([1]))
  np.testing.assert_allclose(scores["nll_nats"], -np.log(probs.mean(0)[:, 1]), rtol=1e-6)
  assert scores["err_frac"] == 1.0
  flipped = classification(jnp.log(probs), jnp.array([0]))
  assert flipped["err_frac"] == 0.0 and flipped["err_1sample_frac"] == 0.0


def test_one_sample_has_no_second_error():
  assert set(classification(jnp.zeros((1, 2, 3)), jnp.array([0, 1]))) == {"err_frac", "nll_nats"}


def test_regression_scores_the_mixture_of_the_samples():
  rng = np.random.default_rng(0)
  predictions, target = rng.normal(size=(3, 5, 2)), rng.normal(size=(5, 2))
  free = {"log_diagonal": jnp.array([0.3, -0.2]), "lower": jnp.array([[7.0, 7.0], [0.6, 7.0]])}
  factor = np.array([[np.exp(0.3), 0.0], [0.6, np.exp(-0.2)]])
  density = [
    [multivariate_normal(p, factor @ factor.T).pdf(y) for p, y in zip(sample, target)]
    for sample in predictions
  ]
  scores = regression(jnp.array(predictions), jnp.array(target), free)
  np.testing.assert_allclose(scores["nll_nats"], -np.log(np.mean(density, axis=0)), rtol=1e-5)
  error = np.mean((predictions.mean(0) - target) ** 2, axis=1)
  np.testing.assert_allclose(scores["mse"], error, rtol=1e-5)


def test_a_regression_holds_where_the_density_underflows():
  free = {"log_diagonal": jnp.zeros(1), "lower": jnp.zeros((1, 1))}
  found = regression(jnp.array([[[1e3]], [[-1e3]]]), jnp.zeros((1, 1)), free)
  np.testing.assert_allclose(found["nll_nats"], 0.5 * (1e6 + np.log(2 * np.pi)), rtol=1e-5)


def test_mean_log_probs_holds_at_the_edges():
  found = mean_log_probs(jnp.array([[[1e4, -1e4]], [[1e4, -1e4]]]))
  np.testing.assert_allclose(found, [[0.0, -2e4]])


def test_labels_of_another_length_are_refused():
  with pytest.raises(InputError, match="labels has shape"):
    classification(jnp.zeros((1, 2, 3)), jnp.array([0]))


def test_states_add_up_to_the_mean_of_all_and_never_look_at_padding():
  values = np.random.default_rng(0).normal(size=10).astype(np.float32)
  mask = np.arange(6) < 4
  first = mean_state("a", jnp.array(values[:6]), jnp.ones(6, bool))
  padded = jnp.array([*values[6:], np.nan, np.inf])
  second = mean_state("a", padded, jnp.array(mask))
  total = finalize(add({"a": first}, {"a": second}))
  np.testing.assert_allclose(total["a"], values.mean(), rtol=1e-6)
  assert np.isnan(finalize({"a": (0.0, 0.0)})["a"])


# The fast gradient sign method.


def logistic(w):
  """The loss of a linear classifier with labels -1, +1: log(1 + exp(-y w.x))."""
  return lambda x, y: jax.nn.softplus(-y * (x @ w))


def test_fgsm_takes_the_whole_l1_norm_from_the_margin_of_a_linear_model():
  rng = np.random.default_rng(0)
  w = jnp.array(rng.normal(size=7), jnp.float32)
  x = jnp.array(rng.uniform(0.3, 0.7, (5, 7)), jnp.float32)
  y = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0])
  attacked = fast_gradient_sign(lambda x: logistic(w)(x, y), x, 0.2, 0.0, 1.0)
  margin = y * (x @ w) - 0.2 * np.abs(w).sum()  # the worst point of the box, in closed form
  np.testing.assert_allclose(y * (attacked @ w), margin, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(logistic(w)(attacked, y), np.logaddexp(0, -margin), rtol=1e-5)


def test_fgsm_stays_in_the_range_and_still_where_the_loss_is_flat():
  x = jnp.array([[0.95, 0.05, 0.5]])
  attacked = fast_gradient_sign(lambda x: x[:, 0] - x[:, 1], x, 0.1, 0.0, 1.0)
  np.testing.assert_allclose(attacked, [[1.0, 0.0, 0.5]], atol=1e-7)


def test_fgsm_of_a_vmapped_population_is_that_of_each_member():
  rng = np.random.default_rng(1)
  w, x = (jnp.array(rng.normal(size=s), jnp.float32) for s in ((3, 4), (5, 4)))
  y, steps = jnp.ones(5), jnp.array([0.0, 0.1, 0.3])

  def attack(w, step):
    return fast_gradient_sign(lambda x: logistic(w)(x, y), x, step, -9.0, 9.0)

  together = jax.jit(jax.vmap(attack))(w, steps)
  for i in range(3):
    np.testing.assert_allclose(together[i], attack(w[i], steps[i]), rtol=1e-6)


@pytest.mark.parametrize(
  ("epsilons", "dtype", "message"),
  [
    ((0.1, -0.1), np.uint8, "holds -0.1; expected finite"),
    ((float("nan"),), np.uint8, "holds nan"),
    ((float("inf"),), np.uint8, "holds inf"),
    (("0.1",), np.uint8, "holds '0.1'"),
    (0.1, np.uint8, "not a tuple"),
    ((0.1, 0.1), np.uint8, "twice"),
    ((0.1,), np.float32, "needs uint8 inputs"),
  ],
)
def test_epsilons_that_cannot_be_are_refused(epsilons, dtype, message):
  with pytest.raises(ConfigError, match=message):
    check_epsilons(epsilons, dtype)


def test_no_attack_needs_no_range():
  assert check_epsilons((), np.float32) == ()


def test_fgsm_in_a_run_at_zero_is_the_clean_error_and_grows_with_the_step():
  setup = tiny_setup(eval__fgsm=(0.0, 0.05, 0.3))
  state = setup.runner.init(setup.hyper)
  feed = setup.train_feed()
  (table,) = feed.tables(iter([(0, 10)]))
  for _ in range(3):
    state = setup.runner.run(state, feed.data, table, np.int32(10), setup.hyper)
  values = loop.predictions(setup, state, "test")
  wrong = values["label"] != values["prediction"]
  np.testing.assert_array_equal(values["fgsm_0_wrong"], wrong)
  row = summarize(values)
  assert row["fgsm_0_err_frac"] < row["fgsm_0.05_err_frac"] < row["fgsm_0.3_err_frac"]
  scores = loop.evaluate(setup, state, setup.eval_feed("test"))
  np.testing.assert_allclose(row["fgsm_0_err_frac"], scores["err_frac"], rtol=1e-6)
  np.testing.assert_allclose(-np.log(values["label_prob"]).mean(), scores["nll_nats"], rtol=1e-4)
  assert 0 < row["ece_frac"] < 1 and 0 < row["brier"] < 2
  # max(p)^2 <= sum p^2 <= max(p), for every distribution.
  most, collision = values["confidence"], values["collision_prob"]
  assert (most**2 <= collision + 1e-6).all() and (collision <= most + 1e-6).all()


def test_a_run_refuses_a_bad_epsilon_before_it_starts():
  with pytest.raises(ConfigError, match="config.eval.fgsm holds -1"):
    tiny_setup(eval__fgsm=(-1.0,))


# Calibration.


def test_ece_by_hand():
  # Two of 15 bins: 0.9 in (13/15, 14/15] and 0.35 in (5/15, 6/15].
  confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.35, 0.35])
  correct = np.array([True, True, False, False, True, False])
  expected = 4 / 6 * abs(0.5 - 0.9) + 2 / 6 * abs(0.5 - 0.35)
  np.testing.assert_allclose(expected_calibration_error(confidence, correct), expected, rtol=1e-12)


def test_ece_with_one_bin_is_the_gap_of_the_averages():
  rng = np.random.default_rng(0)
  confidence, correct = rng.uniform(size=200), rng.uniform(size=200) < 0.3
  found = expected_calibration_error(confidence, correct, bins=1)
  np.testing.assert_allclose(found, abs(confidence.mean() - correct.mean()), rtol=1e-12)


def test_ece_bins_are_closed_on_the_right():
  # 0.5 belongs to (0, 0.5] of two bins, 0.75 to the other.
  correct = np.array([False, True])
  assert expected_calibration_error(np.array([0.5, 0.5]), correct, bins=2) == 0.0
  found = expected_calibration_error(np.array([0.5, 0.75]), correct, bins=2)
  np.testing.assert_allclose(found, (0.5 + 0.25) / 2)


def test_ece_of_an_oracle_and_of_a_fool():
  ones = np.ones(4, np.float32)
  assert expected_calibration_error(ones, np.ones(4, bool)) == 0.0
  assert expected_calibration_error(ones, np.zeros(4, bool)) == 1.0
  assert expected_calibration_error(np.zeros(4), np.zeros(4, bool)) == 0.0


@pytest.mark.parametrize(
  ("confidence", "correct", "message"),
  [
    ([], [], "empty"),
    ([0.5, np.nan], [True, True], "nan at row 1"),
    ([1.5], [True], "1.5 at row 0"),
    ([0.5], [True, False], "correct has shape"),
  ],
)
def test_ece_refuses_what_is_no_confidence(confidence, correct, message):
  with pytest.raises(InputError, match=message):
    expected_calibration_error(np.array(confidence), np.array(correct))


def test_brier_is_the_squared_distance_to_the_indicator():
  rng = np.random.default_rng(0)
  probs = rng.dirichlet(np.ones(4), size=50)
  labels = rng.integers(0, 4, 50)
  expected = np.square(probs - np.eye(4)[labels]).sum(-1).mean()
  found = brier_score(probs[np.arange(50), labels], np.square(probs).sum(-1))
  np.testing.assert_allclose(found, expected, rtol=1e-12)
  assert brier_score(np.zeros(1), np.ones(1)) == 2.0


def test_the_summary_gives_what_the_arrays_allow():
  assert summarize({"label": np.zeros(2)}) == {}
  found = summarize({"a_wrong": np.array([True, False, False, False]), "label": np.zeros(4)})
  assert found == {"a_err_frac": 0.25}
