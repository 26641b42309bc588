"""A beta that is learned, so that the rate meets a target.

Source: Rezende and Viola 2018, "Taming VAEs" (arXiv:1810.00597).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar
from ibjax.objectives.wrappers.controller import control
from ibjax.objectives.wrappers.inner import price

LAGRANGIAN = Lagrangian("none", "I(X;Z)")


def target_rate(
  inner: Mapping[str, Any] | None = None,
  target_nats: Scalar = 10.0,
  initial_beta: Scalar = 1e-3,
  speed: Scalar = 0.01,
  decay: Scalar = 0.95,
  tolerance: Scalar = 0.05,
  lowest_beta: Scalar = 1e-6,
) -> Objective:
  """Minimises the distortion at a given rate: beta is the multiplier of that constraint.

  Use it when methods are to be compared at equal rates, or when the rate is what you are given.

  Formula: min distortion subject to R <= target, as min max_beta distortion + beta (R - target):
  log beta grows by speed (R' / target - 1) each step, clipped to one, where R' averages the
  rates of past batches with `decay`. R is the average of what the inner objective multiplies by
  its beta.

  Args:
    inner: section of the objective, without its beta; VIB when None.
    target_nats: the rate to meet, > 0; in the unit of that loss where it is not nats.
    initial_beta: where beta starts, > 0.
    speed: how fast log beta follows, > 0.
    decay: of the average over batches, in [0, 1).
    tolerance: how far from the target, relative to it, still counts as reached.
    lowest_beta: where beta stops falling, > 0; what fell while the model knew nothing yet has to
      climb back.

  Returns:
    An `Objective` with the inner one's losses and metrics, and the metrics beta, target_gap (R' -
    target), target_missed_frac (0 or 1: whether the gap is beyond the tolerance, after training
    whether the target could not be reached) and target_closest, the averaged rate that came
    nearest so far.

  Raises:
    InputError: a target, beta or speed that is not positive, a decay outside [0, 1), an inner
      objective whose rate cannot be found.
    ConfigError: an inner objective that is unknown, or has no beta.

  Example:
    >>> from ibjax.objectives.wrappers.target_rate import target_rate
    >>> objective = target_rate(target_nats=15.0)

  Source: Rezende and Viola 2018 (arXiv:1810.00597), algorithm 1 (GECO), with the constraint on
  the rate.
  """
  checks.at_least("target_nats", target_nats, 0.0, strict=True)

  def error(terms, outputs, batch, beta):
    rate = price("target_rate", terms, beta, batch["mask"])[1]
    return rate, target_nats, target_nats

  return control("target_rate", inner, error, initial_beta, speed, decay, tolerance, lowest_beta)


def _inputs():
  code = Code(value=jnp.zeros((2, 1)), rate=jnp.array([1.0, 3.0]), bits=None, aux={})
  return dict(
    outputs=Outputs(code, jnp.zeros((2, 2))),
    batch={"y": jnp.array([0, 1])},
    label_probs=jnp.full(2, 0.5),
  )


CASES = (
  Case(
    name="an average rate of 2 nats where 8 are wanted",
    hyper=dict(target_nats=8.0, initial_beta=0.5),
    inputs=_inputs,
    expected=dict(beta=0.5, target_gap=-6.0, target_missed_frac=1.0, target_closest=2.0),
    source="by hand",
  ),
)
