"""Error and likelihood of a classifier whose predictions are averaged over sampled codes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks

Array = jax.Array


def classification(logits: Array, labels: Array) -> dict[str, Array]:
  """Scores the mean predictive distribution over S sampled codes.

  Formula: p(y|x) = 1/S sum_s softmax(logits_s)_y; err = [argmax p != y]; nll = -log p_y.

  Args:
    logits: [s, n, c], one slice per sampled code.
    labels: [n] integers.

  Returns:
    {"err_frac": [n], "nll_nats": [n]}, and for s > 1 "err_1sample_frac": [n], the error of the
    first sample alone.

  Raises:
    InputError: logits or labels that do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.classification import classification
    >>> scores = classification(jnp.array([[[2.0, 0.0]]]), jnp.array([0]))
    >>> float(scores["err_frac"][0])
    0.0

  Source: Alemi et al. 2017 (arXiv:1612.00410), section 4.1 (12 samples averaged at test).
  """
  checks.shape("logits", logits, ("s", "n", "c"))
  checks.shape("labels", labels, (logits.shape[1],))
  log_probs = mean_log_probs(logits)
  scores = {
    "err_frac": (jnp.argmax(log_probs, axis=-1) != labels).astype(jnp.float32),
    "nll_nats": -jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0],
  }
  if logits.shape[0] > 1:
    first = jnp.argmax(logits[0], axis=-1)
    scores["err_1sample_frac"] = (first != labels).astype(jnp.float32)
  return scores


def mean_log_probs(logits: Array) -> Array:
  """Log of the class probabilities averaged over samples; logits [s, n, c] -> [n, c].

  Args:
    logits: [s, n, c], one slice per sampled code.

  Returns:
    [n, c] float32 in nats.
  """
  log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  return jax.nn.logsumexp(log_probs, axis=0) - math.log(logits.shape[0])
