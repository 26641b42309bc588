"""Schedules: pure functions of progress that multiply a hyperparameter, traced or not.

A schedule is `schedule(step, total) -> multiplier`: step and total may be traced, so one
compiled step serves every length of run. Durations are counted in steps here; the config's
"2 epochs" has become a number of steps before (see `ibjax.core.duration`).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Scalar

Array = jax.Array
Schedule = Callable[[Array, Scalar], Array]


def _warm(step: Array, warmup_steps: Scalar) -> Array:
  return jnp.minimum(1.0, (step + 1.0) / jnp.maximum(1.0, warmup_steps))


def _over_the_run(shape: Callable[[Array], Array], warmup_steps: Scalar) -> Schedule:
  """A schedule of the share t of the run that is done, from 0 to 1, times the warm-up."""
  checks.at_least("warmup_steps", warmup_steps, 0)

  def schedule(step: Array, total: Scalar) -> Array:
    step = jnp.asarray(step, jnp.float32)
    t = jnp.clip(step / jnp.maximum(total, 1.0), 0.0, 1.0)
    return _warm(step, warmup_steps) * shape(t)

  return schedule


def constant(warmup_steps: Scalar = 0) -> Schedule:
  """Stays at 1, after a linear warm-up.

  Formula: min(1, (step + 1) / warmup_steps).

  Args:
    warmup_steps: steps of linear warm-up.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: a negative duration.

  Example:
    >>> from ibjax.core.schedules import constant
    >>> float(constant()(10, 100))
    1.0

  Source: standard practice.
  """
  checks.at_least("warmup_steps", warmup_steps, 0)
  return lambda step, total: _warm(jnp.asarray(step, jnp.float32), warmup_steps)


def cosine(warmup_steps: Scalar = 0, final: Scalar = 0.0, initial: Scalar = 1.0) -> Schedule:
  """Goes from `initial` to `final` along half a cosine over the run, after a linear warm-up.

  Formula: final + (initial - final) (1 + cos(pi t)) / 2, t = step / total.

  Args:
    warmup_steps: steps of linear warm-up, multiplied onto the cosine.
    final: multiplier at the end of the run.
    initial: multiplier at its start; less than `final` makes the cosine rise.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: a negative duration, final or initial value.

  Example:
    >>> from ibjax.core.schedules import cosine
    >>> round(float(cosine()(50, 100)), 6)
    0.5

  Source: Loshchilov and Hutter 2017 (SGDR), eq. 5 without restarts.
  """
  checks.at_least("final", final, 0)
  checks.at_least("initial", initial, 0)
  return _over_the_run(
    lambda t: final + (initial - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * t)), warmup_steps
  )


def linear(warmup_steps: Scalar = 0, final: Scalar = 0.0, initial: Scalar = 1.0) -> Schedule:
  """Goes from `initial` to `final` in a straight line over the run, after a linear warm-up.

  Formula: initial + (final - initial) step / total.

  Args:
    warmup_steps: steps of linear warm-up, multiplied onto the line.
    final: multiplier at the end of the run.
    initial: multiplier at its start; initial=0, final=1 makes a beta rise from 0.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: a negative duration, final or initial value.

  Example:
    >>> from ibjax.core.schedules import linear
    >>> float(linear(final=0.5)(100, 100))
    0.5

  Source: standard practice.
  """
  checks.at_least("final", final, 0)
  checks.at_least("initial", initial, 0)
  return _over_the_run(lambda t: initial + (final - initial) * t, warmup_steps)


def staircase(
  decay: Scalar = 0.97, every_steps: Scalar = 1200, warmup_steps: Scalar = 0
) -> Schedule:
  """Multiplies by `decay` after every so many steps.

  Formula: decay^floor(step / every_steps).

  Args:
    decay: factor per stair, in (0, 1].
    every_steps: length of a stair in steps ("every='2 epochs'" in a config).
    warmup_steps: steps of linear warm-up.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: a decay outside [0, 1] or a stair shorter than one step.

  Example:
    >>> from ibjax.core.schedules import staircase
    >>> round(float(staircase(0.97, 1200)(2400, 0)), 4)
    0.9409

  Source: the schedule of Alemi et al. 2017's demonstration code.
  """
  checks.between("decay", decay, 0.0, 1.0)
  checks.at_least("every_steps", every_steps, 1)
  checks.at_least("warmup_steps", warmup_steps, 0)

  def schedule(step: Array, total: Scalar) -> Array:
    step = jnp.asarray(step, jnp.float32)
    stairs = jnp.floor(step / every_steps)
    return _warm(step, warmup_steps) * jnp.asarray(decay, jnp.float32) ** stairs

  return schedule


def annealed(
  start_steps: Scalar = 0, length_steps: Scalar = 1000, initial: Scalar = 0.0
) -> Schedule:
  """Stays at `initial`, then rises to 1 in a straight line and stays there: KL annealing.

  Formula: initial + (1 - initial) min(1, max(0, (step - start_steps) / length_steps)).

  Args:
    start_steps: steps before the rise ("start='1 epochs'" in a config).
    length_steps: steps the rise takes ("length='5 epochs'" in a config).
    initial: multiplier before the rise.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: a negative duration or initial value, or a rise shorter than one step.

  Example:
    >>> from ibjax.core.schedules import annealed
    >>> [float(annealed(10, 20)(step, 100)) for step in (0, 10, 20, 30, 99)]
    [0.0, 0.0, 0.5, 1.0, 1.0]

  Source: Bowman et al. 2016 (arXiv:1511.06349), section 3.1, with a straight line where they
  draw a sigmoid.
  """
  checks.at_least("start_steps", start_steps, 0)
  checks.at_least("length_steps", length_steps, 1)
  checks.at_least("initial", initial, 0)

  def schedule(step: Array, total: Scalar) -> Array:
    share = (jnp.asarray(step, jnp.float32) - start_steps) / length_steps
    return initial + (1.0 - initial) * jnp.clip(share, 0.0, 1.0)

  return schedule


def cyclic(cycles: int = 4, ratio: Scalar = 0.5, initial: Scalar = 0.0) -> Schedule:
  """Rises from `initial` to 1 again and again: cyclical annealing.

  Formula: tau = mod(step, ceil(total / cycles)) / (total / cycles), the share of the cycle that
  is done; initial + (1 - initial) min(1, tau / ratio). With initial = 0 it is the paper's
  beta_t, whose t counts from 1.

  Args:
    cycles: M, cycles in the run.
    ratio: R in (0, 1], the share of a cycle in which the multiplier rises.
    initial: multiplier at the start of a cycle.

  Returns:
    `schedule(step, total) -> float32 multiplier`.

  Raises:
    InputError: less than one cycle, a ratio outside [0, 1] or a negative initial value.

  Example:
    >>> from ibjax.core.schedules import cyclic
    >>> [float(cyclic(2)(step, 16)) for step in (0, 2, 4, 7, 8, 10)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]

  Source: Fu et al. 2019 (arXiv:1903.10145), eqs. 6 and 7, with a straight line for f.
  """
  checks.at_least("cycles", cycles, 1)
  checks.between("ratio", ratio, 0.0, 1.0)
  checks.at_least("initial", initial, 0)

  def schedule(step: Array, total: Scalar) -> Array:
    step = jnp.asarray(step, jnp.float32)
    length = jnp.maximum(jnp.asarray(total, jnp.float32) / cycles, 1.0)
    tau = jnp.mod(step, jnp.ceil(length)) / length
    # A ratio of 0 is a cycle that is at 1 from its second step on.
    return initial + (1.0 - initial) * jnp.minimum(1.0, tau / jnp.maximum(ratio, 1e-9))

  return schedule
