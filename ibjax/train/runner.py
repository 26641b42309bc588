"""The compiled functions of a run: several updates per call, one batch per evaluation call.

One executable serves every number of updates up to the depth of the table, because the count
is an argument. So log, evaluation and checkpoint boundaries fall where they may, the step
compiles once, and the arithmetic of a step never depends on where a dispatch began.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.core.types import MetricState, Program, TrainState, Tree
from ibjax.data.feed import batch_at

Array = jax.Array


def run_steps(
  program: Program,
  constrain: Any,
  state: TrainState,
  data: Any,
  table: Any,
  count: Array,
  hyper: Any,
) -> TrainState:
  """Makes `count` updates of one run, or fewer when a loss is not finite.

  Args:
    program: the run's program.
    constrain: puts a batch where it belongs on the mesh.
    state: the run's state.
    data: the feed's `data`.
    table: one of the feed's `tables`.
    count: int32 scalar, at most the depth of the table.
    hyper: traced hyperparameters.

  Returns:
    The state after the updates.
  """

  def unfinished(carry):
    i, state = carry
    return (i < count) & (state.bad_step < 0)

  def body(carry):
    i, state = carry
    return i + 1, program.step(state, constrain(batch_at(data, table, i)), hyper)

  return jax.lax.while_loop(unfinished, body, (jnp.int32(0), state))[1]


def clear(state: TrainState) -> TrainState:
  """Sets the sums of the training metrics back to zero.

  Args:
    state: a state.

  Returns:
    The state with its `acc` zero.
  """
  return state._replace(acc=jax.tree.map(jnp.zeros_like, state.acc))


class Runner:
  """Compiles a program over a mesh, for one run.

  Attributes:
    init: `init(hyper) -> TrainState`, born sharded.
    run: `run(state, data, table, count, hyper) -> state`, donating the state.
    step: `step(state, batch, hyper) -> state`, one update; what a dry run looks at.
    evaluate: `evaluate(state, batch, number, hyper) -> MetricState`.
    predict: `predict(state, batch, number, hyper) -> arrays`, fully replicated.
    reset: `reset(state) -> state` with the sums of its metrics zero, donating the state.
    observe: compiles `function(state, batch, number, hyper) -> arrays` of any pure function; the
      batch is the caller's to place, and the result is replicated.
    read: `read(tree) -> tree` of host arrays, from a replicated tree.
    load: a state as a checkpoint gave it, ready to run; here the same.
  """

  def __init__(self, program: Program, mesh: Mesh, shardings: Tree):
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())

    def constrain(batch):
      return jax.lax.with_sharding_constraint(batch, batch_sharding)

    def run(state: TrainState, data: Any, table: Any, count: Array, hyper: Any) -> TrainState:
      return run_steps(program, constrain, state, data, table, count, hyper)

    def evaluate(state: TrainState, batch: Any, number: Array, hyper: Any) -> MetricState:
      return program.evaluate(state, constrain(batch), number, hyper)

    def predict(state: TrainState, batch: Any, number: Array, hyper: Any):
      return program.predict(state, constrain(batch), number, hyper)

    self.init = jax.jit(program.init, out_shardings=shardings)
    self.run = jax.jit(run, donate_argnums=0, out_shardings=shardings)
    self.step = jax.jit(program.step, donate_argnums=0, out_shardings=shardings)
    self.evaluate = jax.jit(evaluate, out_shardings=everywhere)
    self.predict = jax.jit(predict, out_shardings=everywhere)
    self.reset = jax.jit(clear, donate_argnums=0, out_shardings=shardings)
    self.observe = functools.partial(jax.jit, out_shardings=everywhere)
    self.read = jax.device_get
    self.load = lambda state: state
