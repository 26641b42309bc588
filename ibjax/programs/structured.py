"""Supervised training in the stages of the structured bottleneck, each of one part of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core.errors import ConfigError
from ibjax.core.types import Batch, DataSpec, Program, TrainState, Tree
from ibjax.programs.supervised import supervised

Array = jax.Array
BOTTLENECK = "ibjax.bottlenecks.structured_gaussian:structured_gaussian"
ENCODER = "ibjax.models.parallel_mlp:parallel_mlp"


def structured(config: Mapping[str, Any], mesh: Any, spec: DataSpec) -> Program:
  """Builds the supervised program with all parts held that the current stage does not train.

  Stage 0 trains the main encoder (branch 0) and the decoder; stage b = 1..K the auxiliary encoder b
  and the objective's classifiers, with the decoder frozen; the last stage the weights of the
  mixture alone. The update is that of `ibjax.programs.supervised`; afterwards every held entry of
  the parameters and of the optimiser's moments is put back. So a held part is exactly what it was,
  and its momentum waits, which cutting its gradient alone would not give.

  Args:
    config: the resolved config; the bottleneck is `structured_gaussian`, the encoder
      `parallel_mlp` with a branch for every code.
    mesh: the device mesh.
    spec: the data's description.

  Returns:
    A `Program` of pure functions.

  Raises:
    ConfigError: another bottleneck or encoder, a number of branches that is not K + 1, or
      whatever `supervised` refuses.

  Example:
    >>> program = structured(config, None, spec)  # doctest: +SKIP
  """
  for name, wanted in (("bottleneck", BOTTLENECK), ("encoder", ENCODER)):
    if config[name]["fn"] != wanted:
      raise ConfigError(
        f"the program 'structured' trains main and auxiliary encoders in stages and needs "
        f"config.{name}.fn='{wanted}'; found '{config[name]['fn']}'."
      )
  auxiliaries = config["bottleneck"].get("auxiliaries", 1)
  branches = config["encoder"].get("branches", 2)
  if branches != auxiliaries + 1:
    raise ConfigError(
      f"config.encoder.branches={branches}, but the main and {auxiliaries} auxiliary codes need "
      f"config.encoder.branches={auxiliaries + 1}."
    )
  program = supervised(config, mesh, spec)

  def step(state: TrainState, batch: Batch, hyper) -> TrainState:
    after = program.step(state, batch, hyper)
    stage = after.states["bottleneck"]["stage"]

    def held(old: Tree, new: Tree) -> Tree:
      return jax.tree_util.tree_map_with_path(
        lambda path, o, n: jnp.where(_trains(_names(path), o, stage, auxiliaries), n, o), old, new
      )

    return after._replace(
      params=held(state.params, after.params), opt_state=held(state.opt_state, after.opt_state)
    )

  return program._replace(step=step)


def _names(path: Any) -> tuple[str, ...]:
  return tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))


def _trains(names: tuple[str, ...], leaf: Array, stage: Array, auxiliaries: int) -> Array:
  """Whether a leaf, or each branch of an encoder's leaf, is trained in a stage."""
  component = names[0] if names else ""
  if component == "encoder":
    own = jnp.arange(auxiliaries + 1) == stage
    return own.reshape(-1, *[1] * (leaf.ndim - 1))
  if component == "objective" and "critic" in names:
    return (stage >= 1) & (stage <= auxiliaries)
  if component in ("decoder", "objective"):
    return stage == 0
  if component == "bottleneck":
    return stage == auxiliaries + 1
  return jnp.bool_(True)  # the optimiser's count of updates
