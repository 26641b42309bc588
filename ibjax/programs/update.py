"""One training update, shared by all programs: gradients, clipping, accumulation, averaging.

The update of a step whose loss is not finite is not applied: the state stays the one that
produced the bad loss, so it can be looked at and the run can be replayed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ibjax.core import rng
from ibjax.core.resolver import bind
from ibjax.core.types import Batch, DataSpec, MetricState, TrainState, Tree
from ibjax.metrics.mean import add
from ibjax.programs import hyper as hyper_lib

Array = jax.Array
Hyper = Mapping[str, Array]
# loss(params, states, batch, key, step, hyper) -> ((minimised, minimax | None), (states, metrics))
LossFn = Callable[..., tuple[tuple[Array, Array | None], tuple[Tree, MetricState]]]


def optimizer(config: Mapping[str, Any], spec: DataSpec, hyper: Hyper):
  """Builds the optax transformation and its learning-rate schedule, from traced scalars.

  Args:
    config: the resolved config (plain nested dictionaries).
    spec: the data's description, for the length of the run and of an epoch.
    hyper: traced hyperparameters.

  Returns:
    (transformation, `learning_rate(count)`), the first with clipping in front when
    `config.train.clip_norm` is set; count is the number of updates done.

  Raises:
    ConfigError: a factory's name, keyword, type or range is wrong, or a duration is none.
  """
  keywords = hyper_lib.section(config, "optimizer", hyper)
  peak = keywords.pop("learning_rate")
  section = hyper_lib.section(config, "schedule", hyper)
  schedule = bind(hyper_lib.durations(section, "schedule", config, spec))

  def learning_rate(count):
    return peak * schedule(count, float(spec.total_steps))

  chain = bind(keywords, learning_rate=learning_rate)
  clip_norm = hyper_lib.section(config, "train", hyper)["clip_norm"]
  if clip_norm is not None:
    chain = optax.chain(optax.clip_by_global_norm(clip_norm), chain)
  return chain, learning_rate


def init_state(
  params: Tree,
  states: Tree,
  loss: LossFn,
  batch: Batch,
  config: Mapping[str, Any],
  spec: DataSpec,
  hyper: Hyper,
) -> TrainState:
  """Returns the state of a run at step 0.

  Args:
    params: initial parameters by component.
    states: initial moving statistics by component.
    loss: the program's loss function.
    batch: a batch, for its shapes only.
    config: the resolved config.
    spec: the data's description.
    hyper: traced hyperparameters.

  Returns:
    A `TrainState`.
  """
  chain, _ = optimizer(config, spec, hyper)
  key = rng.root_key(hyper["seed"])
  step = jnp.int32(0)
  shapes = jax.eval_shape(lambda p: loss(p, states, batch, key, step, hyper)[1][1], params)
  shapes["learning_rate"] = (step, step)
  if config["train"]["clip_norm"] is not None:
    shapes["grad_norm"] = (step, step)
  return TrainState(
    step=step,
    params=params,
    states=states,
    opt_state=chain.init(params),
    # A copy: the two trees are donated, and one buffer cannot be given away twice.
    ema=jax.tree.map(jnp.copy, params) if config["train"]["ema"] is not None else (),
    acc=jax.tree.map(lambda _: jnp.float32(0.0), shapes),
    bad_step=jnp.int32(-1),
    bad_terms={name: jnp.float32(0.0) for name in shapes},
  )


def make_step(loss: LossFn, config: Mapping[str, Any], spec: DataSpec):
  """Returns `step(state, batch, hyper) -> state`, one update.

  Args:
    loss: the program's loss function.
    config: the resolved config.
    spec: the data's description.

  Returns:
    A pure function, safe under jit, vmap (over state, batch and hyper) and any sharding. A state
    that holds a bad step already is returned as it is.
  """

  def apply(operands):
    grads, state, states, metrics, hyper = operands
    chain, _ = optimizer(config, spec, hyper)
    updates, opt_state = chain.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(
      step=state.step + 1,
      params=params,
      states=states,
      opt_state=opt_state,
      ema=_average(state, params, config, hyper),
      acc=add(state.acc, metrics),
    )

  def skip(operands):
    _, state, _, metrics, _ = operands
    terms = {name: total / jnp.maximum(count, 1.0) for name, (total, count) in metrics.items()}
    first = state.bad_step < 0  # a state that was held before keeps what it says
    return state._replace(
      bad_step=jnp.where(first, state.step, state.bad_step),
      bad_terms=jax.tree.map(lambda new, old: jnp.where(first, new, old), terms, state.bad_terms),
    )

  either = branch(apply, skip)

  def step(state: TrainState, batch: Batch, hyper: Hyper) -> TrainState:
    grads, value, states, metrics = _gradients(loss, config, state, batch, hyper)
    _, learning_rate = optimizer(config, spec, hyper)
    metrics["learning_rate"] = (learning_rate(state.step), jnp.float32(1.0))
    if config["train"]["clip_norm"] is not None:
      metrics["grad_norm"] = (optax.tree.norm(grads), jnp.float32(1.0))
    good = jnp.isfinite(value) & (state.bad_step < 0)
    return either(good, (grads, state, states, metrics, dict(hyper)))

  return step


def branch(apply: Callable[[Any], Any], skip: Callable[[Any], Any]) -> Callable[..., Any]:
  """Returns `either(good, operands)`: a branch, not a select, under `vmap` too.

  Selecting would read and write the whole state once more. Under `vmap` a branch on a batched
  condition becomes a select, so there the branch is on whether all members are good.

  Args:
    apply: of the operands, where the condition holds: the usual case.
    skip: of the operands, where it does not; returns arrays of the same shapes.

  Returns:
    `either(good, operands)`, good a bool scalar.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.update import branch
    >>> float(branch(lambda x: 2 * x, lambda x: -x)(jnp.bool_(False), jnp.float32(1.0)))
    -1.0
  """

  @jax.custom_batching.custom_vmap
  def either(good, operands):
    return jax.lax.cond(good, apply, skip, operands)

  @either.def_vmap
  def rule(size, batched, good, operands):
    axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, batched)
    good_axis, operand_axes = axes

    def some(operands):
      def one(good, operands):
        return jax.tree.map(
          lambda new, old: jnp.where(good, new, old), apply(operands), skip(operands)
        )

      return jax.vmap(one, (good_axis, operand_axes), axis_size=size)(good, operands)

    def every(operands):
      return jax.vmap(apply, (operand_axes,), axis_size=size)(operands)

    out = jax.lax.cond(jnp.all(good), every, some, operands)
    return out, jax.tree.map(lambda _: True, out)

  return either


def _average(state: TrainState, params: Tree, config: Mapping[str, Any], hyper: Hyper) -> Tree:
  decay = hyper_lib.section(config, "train", hyper)["ema"]
  if decay is None:
    return ()
  # Early in training the window grows with the step, or the average would remember the random
  # start: 0.999^3000 is still 5%.
  count = state.step.astype(jnp.float32)
  decay = jnp.minimum(decay, (1.0 + count) / (10.0 + count))
  return jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, state.ema, params)


def _gradients(loss, config, state, batch, hyper):
  """Returns (gradients, loss value, new states, metrics), over all microbatches."""
  key = rng.root_key(hyper["seed"])
  parts = config["train"]["accumulate"]

  def one(states, part, key):
    def pair(params):
      (minimised, minimax), aux = loss(params, states, part, key, state.step, hyper)
      return (minimised, minimax), aux

    (minimised, minimax), pullback, (states, metrics) = jax.vjp(pair, state.params, has_aux=True)
    unit = jnp.ones_like(minimised)
    if minimax is None:
      return pullback((unit, None))[0], minimised, states, metrics
    grads = pullback((unit, unit))[0]
    # The critic climbs what everything else descends.
    grads["objective"] = pullback((unit, -unit))[0]["objective"]
    return grads, minimised + minimax, states, metrics

  if parts == 1:
    return one(state.states, batch, rng.stream(key, "step", state.step))

  def split(x):
    # Rows a, a + parts, ...: each device's rows stay on it.
    return jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)

  def body(carry, part):
    grads, value, states, metrics = carry
    number, rows = part
    g, v, states, m = one(states, rows, rng.stream(key, "step", state.step, number))
    return (jax.tree.map(jnp.add, grads, g), value + v, states, add(metrics, m)), None

  parts_batch = jax.tree.map(split, dict(batch))
  first = jax.tree.map(lambda x: x[0], parts_batch)
  carry = one(state.states, first, rng.stream(key, "step", state.step, 0))
  rest = jax.tree.map(lambda x: x[1:], parts_batch)
  carry, _ = jax.lax.scan(body, carry, (jnp.arange(1, parts), rest))
  grads, value, states, metrics = carry
  return jax.tree.map(lambda g: g / parts, grads), value / parts, states, metrics
