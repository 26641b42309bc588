"""The frame around an objective: masks, weights and averages its terms into a loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core.errors import InputError
from ibjax.core.types import MetricState, Terms
from ibjax.metrics.mean import mean_state

Array = jax.Array


def combine(terms: Terms, mask: Array) -> tuple[tuple[Array, Array | None], MetricState]:
  """Turns the terms of an objective into a loss and its metric states.

  Formula: loss = sum_t weight_t mean_{unmasked}(value_t), split into the terms that all
  parameters minimise and the minimax terms, which the objective's own parameters maximise.

  Args:
    terms: what `Objective.loss` returned.
    mask: [n] bool, True where the example counts.

  Returns:
    ((minimised, minimax or None), {name: (sum, count)}), the latter with "loss_nats".

  Raises:
    InputError: a name is used twice, or a value is neither [n] nor a scalar.
  """
  clash = sorted(set(terms.losses) & set(terms.metrics))
  if clash or "loss_nats" in terms.metrics:
    raise InputError(f"the objective names a loss and a metric alike: {clash or ['loss_nats']}.")
  metrics: MetricState = {}
  minimised, minimax = jnp.float32(0.0), None
  for name, term in terms.losses.items():
    total, count = metrics[name] = mean_state(name, term.value, mask)
    weighted = jnp.asarray(term.weight, jnp.float32) * total / jnp.maximum(count, 1.0)
    if term.minimax:
      minimax = weighted if minimax is None else minimax + weighted
    else:
      minimised = minimised + weighted
  for name, value in terms.metrics.items():
    metrics[name] = mean_state(name, value, mask)
  loss = minimised if minimax is None else minimised + minimax
  examples = jnp.sum(mask, dtype=jnp.float32)
  metrics["loss_nats"] = (loss * examples, examples)
  return (minimised, minimax), metrics
