"""Scores of averaged predictions, and the averages of averages."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ibjax.core.errors import InputError
from ibjax.evaluators.classification import classification, mean_log_probs
from ibjax.evaluators.regression import regression
from ibjax.metrics.mean import add, finalize, mean_state


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
