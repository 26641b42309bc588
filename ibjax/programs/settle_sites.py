"""Bottlenecks at the layers of a language model settle on the data, each when it is due."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.types import Batch, TrainState
from ibjax.programs.settle import Step, forget
from ibjax.programs.tokens import Parts, features_of, site_key
from ibjax.programs.update import branch


def settling_sites(step: Step, build: Callable[..., Parts]) -> Step:
  """Lets the bottlenecks of all sites settle on a batch before the update, where one is due.

  As `ibjax.programs.settle.settling`, for several bottlenecks: while none is due, the model does
  not run once more. What each settles on is what its layer gives with all sites as they were.

  Args:
    step: the program's update.
    build: `build(hyper) -> Parts`.

  Returns:
    `step(state, batch, hyper) -> state`.
  """

  def settle(operands):
    state, batch, hyper = operands
    built = build(hyper)
    key = rng.stream(rng.root_key(hyper["seed"]), "settle", state.step)
    features = features_of(built, state.params, state.states, batch["x"], key)
    params, states = dict(state.params["bottleneck"]), dict(state.states["bottleneck"])
    for path, bottleneck in built.sites.items():
      name, own, due = site_key(path), bottleneck.settle, bottleneck.due
      if own is None or due is None:
        continue

      def revive(of, own=own, path=path):
        return own(*of, features[path], rng.stream(key, f"settle/{path}"))

      params[name], states[name] = jax.lax.cond(
        due(states[name]), revive, lambda of: of, (params[name], states[name])
      )
    changed = jax.tree.map(jnp.not_equal, state.params["bottleneck"], params)
    ema = state.ema
    if ema:
      ema = {**ema, "bottleneck": jax.tree.map(jnp.where, changed, params, ema["bottleneck"])}
    return state._replace(
      params={**state.params, "bottleneck": params},
      states={**state.states, "bottleneck": states},
      opt_state=forget(state.opt_state, {"bottleneck": changed}),
      ema=ema,
    )

  waits = branch(lambda operands: operands[0], settle)

  def settled(state: TrainState, batch: Batch, hyper) -> TrainState:
    due = jnp.bool_(False)
    for path, bottleneck in build(hyper).sites.items():
      if bottleneck.due is not None:
        due = due | bottleneck.due(state.states["bottleneck"][site_key(path)])
    # A run whose loss was not finite is held: what it would settle on may be NaN.
    due = due & (state.bad_step < 0)
    return step(waits(~due, (state, dict(batch), dict(hyper))), batch, hyper)

  return settled
