"""A beta that is learned, so that the accuracy meets a target at the least rate.

Source: Rezende and Viola 2018, "Taming VAEs" (arXiv:1810.00597).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar
from ibjax.objectives.distortion import refuse_targets
from ibjax.objectives.wrappers.controller import control
from ibjax.objectives.wrappers.inner import average

LAGRANGIAN = Lagrangian("none", "I(X;Z)")


def target_accuracy(
  inner: Mapping[str, Any] | None = None,
  target_frac: Scalar = 0.98,
  initial_beta: Scalar = 1e-3,
  speed: Scalar = 0.01,
  decay: Scalar = 0.95,
  tolerance: Scalar = 0.005,
  lowest_beta: Scalar = 1e-4,
) -> Objective:
  """Compresses as far as a given accuracy on the training batches allows.

  Use it when the accuracy is what you are given, and the least rate that has it is asked for.

  Formula: min R subject to accuracy >= target: log beta grows by speed (1 - e' / (1 - target)),
  clipped to one, each step, where e' averages the error of past batches with `decay`: too many
  errors lower the price of a nat, too few raise it.

  Args:
    inner: section of the objective, without its beta; VIB when None.
    target_frac: accuracy to meet, in (0, 1); on the codes that training draws, so a little below
      the accuracy of averaged predictions.
    initial_beta: where beta starts, > 0.
    speed: how fast log beta follows, > 0.
    decay: of the average over batches, in [0, 1).
    tolerance: how far from the target, relative to it, still counts as reached.
    lowest_beta: where beta stops falling, > 0; what fell while the model knew nothing yet has to
      climb back.

  Returns:
    An `Objective` with the inner one's losses and metrics, and the metrics beta, target_gap (the
    averaged accuracy minus the target), target_missed_frac (0 or 1) and target_closest, the
    averaged accuracy that came nearest so far.

  Raises:
    InputError: a target outside (0, 1), a beta or speed that is not positive, a decay outside
      [0, 1), real-valued targets in place of labels.
    ConfigError: an inner objective that is unknown, or has no beta.

  Example:
    >>> from ibjax.objectives.wrappers.target_accuracy import target_accuracy
    >>> objective = target_accuracy(target_frac=0.97)

  Source: Rezende and Viola 2018 (arXiv:1810.00597), algorithm 1 (GECO), with the constraint on
  the accuracy.
  """
  checks.at_least("target_frac", target_frac, 0.0, strict=True)
  if checks.is_concrete(target_frac) and not target_frac < 1.0:
    raise InputError(f"target_frac={target_frac} must be below 1: an accuracy that can be missed.")

  def error(terms, outputs, batch, beta):
    right = jnp.argmax(outputs.prediction, axis=-1) == batch["y"]
    accuracy = average(right.astype(jnp.float32), batch["mask"])
    return accuracy, target_frac, 1.0 - target_frac

  objective = control(
    "target_accuracy", inner, error, initial_beta, speed, decay, tolerance, lowest_beta
  )

  def init(key, spec):
    refuse_targets("target_accuracy", "counts right answers", spec)
    return objective.init(key, spec)

  return objective._replace(init=init)


CASES = (
  Case(
    name="half right where 0.75 is wanted",
    hyper=dict(target_frac=0.75, initial_beta=0.5),
    inputs=lambda: dict(
      outputs=Outputs(
        Code(value=jnp.zeros((2, 1)), rate=jnp.array([1.0, 3.0]), bits=None, aux={}),
        jnp.array([[1.0, 0.0], [1.0, 0.0]]),
      ),
      batch={"y": jnp.array([0, 1])},
      label_probs=jnp.full(2, 0.5),
    ),
    expected=dict(beta=0.5, target_gap=-0.25, target_missed_frac=1.0, target_closest=0.5),
    source="by hand",
  ),
)
