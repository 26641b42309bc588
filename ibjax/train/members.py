"""The compiled functions of a population: the same as a run's, with a leading axis of members.

The axis lies over the mesh's "population" devices. On each device the members are either
batched (`vmap`: one kernel does the work of all, which accelerators need) or looped over inside
the program (each member's updates of a dispatch one after another: the arithmetic is that of a
solo run bit for bit, its weights stay in the cache, and on CPU cores it is the faster way).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.core.types import Program, TrainState, Tree
from ibjax.data.feed import batch_at
from ibjax.train.runner import clear, run_steps

Array = jax.Array
STRATEGIES = ("loop", "vmap")
MEMBERS = PartitionSpec("population")


class PopulationRunner:
  """Compiles a program over a mesh, for `size` members.

  The state holds a multiple of the mesh's population devices: the last members are copies of the
  first that fill up, are computed like all others, and are never read nor stored.

  Attributes:
    strategy: "loop" or "vmap".
    init, run, step, evaluate, predict, reset, observe: as `Runner` has them, with a leading axis
      [members] on states, tables, training batches, hyperparameters and results, and none on data
      and evaluation batches.
    read: `read(tree) -> tree` of host arrays [size, ...].
    load: a state as a checkpoint gave it, with the copies made anew; donates it.
    pick: `pick(state, i) -> TrainState`, one member's state, as its solo run has it.
    put: `put(state, own, i) -> state`, the reverse, donating the state.
  """

  def __init__(
    self, program: Program, mesh: Mesh, shardings: Tree, solo: Tree, size: int, strategy: str
  ):
    self.strategy, self.size = strategy, size
    self.padded = padded(size, mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    # Inside the program the population axis is taken; a bare spec means the axes that are left.
    shared = mesh.shape["data"] > 1

    def constrain(batch):
      return jax.lax.with_sharding_constraint(batch, PartitionSpec("data")) if shared else batch

    def each(function, *stacked):
      """Maps over the members of this device."""
      if strategy == "vmap":
        return jax.vmap(function)(*stacked)
      return jax.lax.map(lambda arguments: function(*arguments), stacked)

    def across(function, in_specs, out_specs):
      return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names={"population"},
        check_vma=False,
      )

    def over_mesh(function, stacked, common):
      """Gives each population device its own members; the other mesh axes stay automatic."""
      return across(function, (MEMBERS,) * stacked + (PartitionSpec(),) * common, MEMBERS)

    def init(hyper):
      return over_mesh(lambda h: each(program.init, h), 1, 0)(hyper)

    def run(state: TrainState, data: Any, table: Any, count: Array, hyper: Any) -> TrainState:
      def looped(states, tables, hypers, data, count):
        def one(state, table, hyper):
          return run_steps(program, constrain, state, data, table, count, hyper)

        return each(one, states, tables, hypers)

      def batched(states, tables, hypers, data, count):
        def body(carry):
          i, states = carry

          def one(state, table, hyper):
            return program.step(state, constrain(batch_at(data, table, i)), hyper)

          return i + 1, jax.vmap(one)(states, tables, hypers)

        start = (jnp.int32(0), states)
        # A member whose loss was not finite is held by its step; the others go on.
        return jax.lax.while_loop(lambda carry: carry[0] < count, body, start)[1]

      function = batched if strategy == "vmap" else looped
      return over_mesh(function, 3, 2)(state, table, hyper, data, count)

    def step(state, batch, hyper):
      def members(states, batches, hypers):
        return each(lambda s, b, h: program.step(s, constrain(b), h), states, batches, hypers)

      return over_mesh(members, 3, 0)(state, batch, hyper)

    def evaluate(state, batch, number, hyper):
      def members(states, hypers, batch, number):
        return each(lambda s, h: program.evaluate(s, constrain(batch), number, h), states, hypers)

      return over_mesh(members, 2, 2)(state, hyper, batch, number)

    def predict(state, batch, number, hyper):
      def members(states, hypers, batch, number):
        return each(lambda s, h: program.predict(s, constrain(batch), number, h), states, hypers)

      return over_mesh(members, 2, 2)(state, hyper, batch, number)

    def observe(function):
      def all_members(state, batch, number, hyper):
        def members(states, hypers, batch, number):
          return each(lambda s, h: function(s, batch, number, h), states, hypers)

        return over_mesh(members, 2, 2)(state, hyper, batch, number)

      return jax.jit(all_members, out_shardings=everywhere)

    def local(state, i):
      """(the member's row on this device, or row 0; whether the member is of this device)."""
      count = jax.tree.leaves(state)[0].shape[0]
      row = i - jax.lax.axis_index("population") * count
      mine = (row >= 0) & (row < count)
      return jnp.where(mine, row, 0), mine

    def pick(state, i):
      def own(state, i):
        row, mine = local(state, i)
        return jax.tree.map(lambda leaf: _from_one(leaf[row], mine), state)

      return across(own, (MEMBERS, PartitionSpec()), PartitionSpec())(state, i)

    def put(state, own, i):
      def changed(state, own, i):
        row, mine = local(state, i)
        return jax.tree.map(
          lambda leaf, new: leaf.at[row].set(jnp.where(mine, new, leaf[row])), state, own
        )

      specs = (MEMBERS, PartitionSpec(), PartitionSpec())
      return across(changed, specs, MEMBERS)(state, own, i)

    def fill(state):
      def one(leaf):
        number = jax.lax.broadcasted_iota(jnp.int32, leaf.shape, 0)
        return jnp.where(number < size, leaf, leaf[:1])

      return jax.tree.map(one, state)

    self.observe = observe
    self.init = jax.jit(init, out_shardings=shardings)
    self.run = jax.jit(run, donate_argnums=0, out_shardings=shardings)
    self.step = jax.jit(step, donate_argnums=0, out_shardings=shardings)
    self.evaluate = jax.jit(evaluate, out_shardings=everywhere)
    self.predict = jax.jit(predict, out_shardings=everywhere)
    self.reset = jax.jit(clear, donate_argnums=0, out_shardings=shardings)
    self._gather = jax.jit(lambda tree: tree, out_shardings=everywhere)
    self.load = lambda state: state
    if self.padded > size:
      self.load = jax.jit(fill, donate_argnums=0, out_shardings=shardings)
    self.pick = jax.jit(pick, out_shardings=solo)
    self.put = jax.jit(put, donate_argnums=0, out_shardings=shardings)

  def read(self, tree: Tree) -> Tree:
    """Returns host arrays [size, ...]; every process gets all of them."""
    host = jax.device_get(self._gather(tree))
    return jax.tree.map(lambda leaf: leaf[: self.size], host)


def _from_one(x: Array, mine: Array) -> Array:
  """Gives every population device the value of the one whose it is, bit for bit.

  A sum over the devices of its bits, to which the others add zero; so no device ever holds more
  than one member of another, as gathering all members would make it.
  """
  width = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
  bits = x.astype(width) if x.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(x, width)
  total = jax.lax.psum(jnp.where(mine, bits, 0).astype(jnp.uint32), "population").astype(width)
  if x.dtype == jnp.bool_:
    return total.astype(jnp.bool_)
  return jax.lax.bitcast_convert_type(total, x.dtype)


def padded(size: int, mesh: Mesh) -> int:
  """Returns the number of members that fill the population devices, at least `size`.

  Args:
    size: members.
    mesh: the device mesh.

  Returns:
    The next multiple of the mesh's population devices.
  """
  over = mesh.shape["population"]
  return -(-size // over) * over


def stack(values: list[dict[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
  """Stacks the hyperparameters of members, filled up with copies of the first.

  Args:
    values: name -> scalar, one dictionary a member, of the same names.
    count: how many to stack.

  Returns:
    Name -> [count].
  """
  filled = [*values, *[values[0]] * (count - len(values))]
  return {name: np.stack([value[name] for value in filled]) for name in values[0]}
