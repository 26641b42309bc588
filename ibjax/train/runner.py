"""The compiled functions of a run: several updates per call, one batch per evaluation call.

One executable serves every number of updates up to the depth of the table, because the count
is an argument. So log, evaluation and checkpoint boundaries fall where they may, the step
compiles once, and the arithmetic of a step never depends on where a dispatch began.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.core.types import MetricState, Program, TrainState, Tree
from ibjax.data.feed import batch_at

Array = jax.Array


class Runner:
  """Compiles a program over a mesh.

  Attributes:
    init: `init(hyper) -> TrainState`, born sharded.
    run: `run(state, data, table, count, hyper) -> state`, donating the state.
    evaluate: `evaluate(state, batch, number, hyper) -> MetricState`.
    predict: `predict(state, batch, number, hyper) -> arrays`, fully replicated.
  """

  def __init__(self, program: Program, mesh: Mesh, shardings: Tree):
    batch_sharding = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())

    def constrain(batch):
      return jax.lax.with_sharding_constraint(batch, batch_sharding)

    def run(state: TrainState, data: Any, table: Any, count: Array, hyper: Any) -> TrainState:
      def unfinished(carry):
        i, state = carry
        return (i < count) & (state.bad_step < 0)

      def body(carry):
        i, state = carry
        return i + 1, program.step(state, constrain(batch_at(data, table, i)), hyper)

      return jax.lax.while_loop(unfinished, body, (jnp.int32(0), state))[1]

    def evaluate(state: TrainState, batch: Any, number: Array, hyper: Any) -> MetricState:
      return program.evaluate(state, constrain(batch), number, hyper)

    def predict(state: TrainState, batch: Any, number: Array, hyper: Any):
      return program.predict(state, constrain(batch), number, hyper)

    self.init = jax.jit(program.init, out_shardings=shardings)
    self.run = jax.jit(run, donate_argnums=0, out_shardings=shardings)
    self.evaluate = jax.jit(evaluate, out_shardings=everywhere)
    self.predict = jax.jit(predict, out_shardings=everywhere)
