"""What a bottleneck does to its own parameters, beside their gradients, before an update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.types import Batch, DataSpec, TrainState, Tree
from ibjax.data.feed import to_float
from ibjax.programs.network import parts
from ibjax.programs.update import branch
from ibjax.programs.views import count_views, make_views

Step = Callable[[TrainState, Batch, Any], TrainState]


def settling(step: Step, config: Mapping[str, Any], spec: DataSpec) -> Step:
  """Lets the bottleneck settle on the features of a batch before the update, where that is due.

  A codebook that starts from the data, or a dead latent that starts anew, is no step along a
  gradient. Where `Bottleneck.settle` changes a parameter, the optimiser's moments of those entries
  are zeroed, since they belong to values that are gone, and averaged weights begin anew there.
  While nothing is due the encoder does not run once more, in populations neither.

  Args:
    step: the program's update.
    config: the resolved config; its bottleneck has `settle` and `due`.
    spec: the data's description.

  Returns:
    `step(state, batch, hyper) -> state`.
  """

  def settle(operands):
    state, batch, hyper = operands
    encoder, bottleneck, _, _ = parts(config, spec, hyper, state.step)
    key = rng.stream(rng.root_key(hyper["seed"]), "settle", state.step)
    x = to_float(batch["x"], tuple(config["data"]["value_range"]))
    if count_views(config):
      x = make_views(config, hyper, x, key)
    # As training sees them, dropout and all; moving statistics are left to the update.
    features, _ = encoder.apply(
      state.params["encoder"],
      state.states["encoder"],
      x,
      key=rng.stream(key, "encoder"),
      train=True,
    )
    old = state.params["bottleneck"]
    assert bottleneck.settle is not None  # the program asks for this step only where there is one
    new, kept = bottleneck.settle(old, state.states["bottleneck"], features, key)
    changed = jax.tree.map(jnp.not_equal, old, new)
    ema = state.ema
    if ema:
      ema = {**ema, "bottleneck": jax.tree.map(jnp.where, changed, new, ema["bottleneck"])}
    return state._replace(
      params={**state.params, "bottleneck": new},
      states={**state.states, "bottleneck": kept},
      opt_state=forget(state.opt_state, {"bottleneck": changed}),
      ema=ema,
    )

  waits = branch(lambda operands: operands[0], settle)

  def settled(state: TrainState, batch: Batch, hyper) -> TrainState:
    _, bottleneck, _, _ = parts(config, spec, hyper, state.step)
    assert bottleneck.due is not None, "a bottleneck that settles says when it is due"
    # A run whose loss was not finite is held: what it would settle on may be NaN.
    due = bottleneck.due(state.states["bottleneck"]) & (state.bad_step < 0)
    return step(waits(~due, (state, dict(batch), dict(hyper))), batch, hyper)

  return settled


def forget(opt_state: Tree, changed: Tree) -> Tree:
  """Zeroes an optimiser's moments of the parameters that were changed by other means.

  Args:
    opt_state: an optax state; its moments stand in trees of the parameters' shape.
    changed: of the parameters' tree a part, with bool arrays of their shapes; True where an entry
      was changed.

  Returns:
    The same tree; counts and everything that is not of a changed parameter are as they were.

  Example:
    >>> import jax.numpy as jnp, optax
    >>> from ibjax.programs.settle import forget
    >>> params = {"w": jnp.ones(2)}
    >>> adam = optax.adam(0.1)
    >>> _, state = adam.update(params, adam.init(params), params)
    >>> [round(m, 3) for m in forget(state, {"w": jnp.array([True, False])})[0].mu["w"].tolist()]
    [0.0, 0.1]
  """
  leaves = jax.tree_util.tree_leaves_with_path(changed)

  def clear(path, leaf):
    for place, mask in leaves:
      if path[-len(place) :] == place and jnp.shape(leaf) == mask.shape:
        return jnp.where(mask, jnp.zeros_like(leaf), leaf)
    return leaf

  return jax.tree_util.tree_map_with_path(clear, opt_state)
