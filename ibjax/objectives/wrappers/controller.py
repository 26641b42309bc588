"""A beta that follows a measured value: the part that all controllers share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Objective, Scalar
from ibjax.objectives.wrappers.inner import build

MOST = 14.0  # log beta at most: beyond, a loss of float32 is one term alone


def control(
  method: str,
  inner: Mapping[str, Any] | None,
  measure: Callable[..., tuple[Any, Any, Any]],
  initial_beta: Scalar,
  speed: Scalar,
  decay: Scalar,
  tolerance: Scalar,
  lowest_beta: Scalar,
) -> Objective:
  """Wraps an objective so that its beta moves until a measured value meets a target.

  Formula: v' <- decay v' + (1 - decay) v, without the weight of its start;
  log beta <- log beta + speed clip((v' - target) / scale, -1, 1).

  Args:
    method: the wrapper's name, for messages.
    inner: section of the objective, without its beta; VIB when None.
    measure: `measure(terms, outputs, batch, beta) -> (value, target, scale)` scalars; a value
      above its target raises beta.
    initial_beta: where beta starts, > 0.
    speed: how fast log beta follows, > 0.
    decay: of the average over batches, in [0, 1).
    tolerance: how far from the target, relative to it, still counts as reached.
    lowest_beta: where beta stops falling, > 0. A price this small changes nothing, and what fell
      further while the model knew nothing yet would have to climb back.

  Returns:
    An `Objective` whose state holds beta; it moves in training only, as evaluation throws the new
    state away.

  Raises:
    InputError: a value out of its range.
    ConfigError: an inner objective that is unknown, or has no beta.
  """
  checks.at_least("initial_beta", initial_beta, 0.0, strict=True)
  checks.at_least("speed", speed, 0.0, strict=True)
  checks.at_least("lowest_beta", lowest_beta, 0.0, strict=True)
  checks.at_least("decay", decay, 0.0)
  checks.at_least("tolerance", tolerance, 0.0)
  if checks.is_concrete(decay) and not decay < 1.0:
    raise InputError(f"decay={decay} must be below 1.")
  shape = build(method, inner, jnp.float32(1.0))  # what does not depend on beta

  def init(key, spec):
    params, state = shape.init(key, spec)
    zero = jnp.float32(0.0)
    mine = {
      "log_beta": jnp.log(jnp.asarray(initial_beta, jnp.float32)),
      "average": zero,
      "weight": zero,
      "closest": jnp.float32(jnp.inf),
    }
    return params, {"inner": state, "controller": mine}

  def loss(params, state, outputs, batch, key, step):
    mine = state["controller"]
    beta = jnp.exp(mine["log_beta"])
    objective = build(method, inner, beta)
    terms = objective.loss(params, state["inner"], outputs, batch, key, step)
    value, target, scale = measure(terms, outputs, batch, beta)
    total = decay * mine["average"] + (1.0 - decay) * value
    weight = decay * mine["weight"] + (1.0 - decay)
    smooth = total / weight
    moved = mine["log_beta"] + speed * jnp.clip((smooth - target) / scale, -1.0, 1.0)
    nearer = jnp.abs(smooth - target) < jnp.abs(mine["closest"] - target)
    closest = jnp.where(nearer, smooth, mine["closest"])
    missed = jnp.abs(smooth - target) > tolerance * target
    new = {
      "log_beta": jnp.clip(moved, jnp.log(lowest_beta), MOST),
      "average": total,
      "weight": weight,
      "closest": closest,
    }
    shown = {
      "beta": beta,
      "target_gap": smooth - target,
      "target_missed_frac": missed,
      "target_closest": closest,
    }
    return dataclasses.replace(
      terms,
      state={
        "inner": terms.state,
        "controller": {name: jnp.asarray(v, jnp.float32) for name, v in new.items()},
      },
      metrics={
        **terms.metrics,
        **{name: jnp.asarray(value, jnp.float32) for name, value in shown.items()},
      },
    )

  return Objective(init, loss, couples=shape.couples, views=shape.views, alone=shape.alone)
