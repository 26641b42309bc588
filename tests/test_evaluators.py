"""Scores of averaged predictions, and the averages of averages."""

import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.evaluators.classification import classification, mean_log_probs
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
