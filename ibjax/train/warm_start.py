"""Starting a run from another's parameters, as beta continuation does.

`config.warm_start` names the folder of a finished run of the same model, or, of a language model
with bottlenecks at its layers (`config.sites`), of the same decoder without: they start afresh.
Parameters, moving statistics and averaged weights are taken over; the step, the optimiser and the
schedules start anew.
"""

from __future__ import annotations

import inspect
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core.config import difference
from ibjax.core.errors import CheckpointError, ConfigError
from ibjax.core.resolver import resolve
from ibjax.core.types import TrainState, Tree
from ibjax.data import source as source_lib
from ibjax.programs import hyper as hyper_lib
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.setup import Setup, build


def warm_start_folder(config: Mapping[str, Any], folder: pathlib.Path) -> pathlib.Path | None:
  """The run folder that a config starts from, or None.

  Args:
    config: a resolved config; its "warm_start" is a path, relative to the folder that holds the
      run's own: a run's neighbour is named by its name alone.
    folder: the run's own folder.

  Returns:
    An absolute path.
  """
  path = config.get("warm_start", "")
  return (folder.resolve().parent / path).resolve() if path else None


def warm_state(setup: Setup, config: Mapping[str, Any], folder: pathlib.Path) -> TrainState | None:
  """Reads what a run starts from: parameters and statistics of a finished run.

  Args:
    setup: the run, or the population it belongs to.
    config: the run's resolved config.
    folder: the run's folder.

  Returns:
    That run's final state, or None when the config names none.

  Raises:
    ConfigError: there is no such run, it is not finished, or it is another model.
  """
  source = warm_start_folder(config, folder)
  if source is None:
    return None
  told = f"config.warm_start='{config['warm_start']}'"
  if not (source / "result.json").exists():
    what = "is not finished" if (source / "manifest.json").exists() else "is not a run"
    raise ConfigError(
      f"{told}: {source} {what}. It must be the folder of a finished run, absolute or relative to "
      f"{folder.resolve().parent}."
    )
  solo = _abstract(setup, config, source, told)
  checkpoints = Checkpoints(
    source / "checkpoints", keep=1, best="", report=lambda text: None, read_only=True
  )
  try:
    restored = checkpoints.restore(solo)
  except CheckpointError as error:
    raise ConfigError(f"{told}: {error}") from error
  finally:
    checkpoints.close()
  if restored is None:
    raise ConfigError(f"{told}: {source} has no checkpoint.")
  return restored[1]


def take_over(fresh: TrainState, given: TrainState) -> TrainState:
  """A fresh state with the parameters, statistics and averages of another.

  Parts of which the other has nothing, as bottlenecks at sites that it does not have, stay fresh.

  Args:
    fresh: a state of step 0.
    given: the state to start from.

  Returns:
    The state; step, optimiser and metrics are the fresh one's.
  """
  params, states = _merged(fresh.params, given.params), _merged(fresh.states, given.states)
  ema = ()
  if fresh.ema:  # a copy: the two trees are donated, and one buffer cannot be given away twice
    ema = _merged(fresh.ema, given.ema or jax.tree.map(jnp.copy, given.params))
  return fresh._replace(params=params, states=states, ema=ema)


def _merged(fresh: Tree, given: Tree) -> Tree:
  return {
    part: given[part] if jax.tree.leaves(given[part]) or not jax.tree.leaves(own) else own
    for part, own in fresh.items()
  }


def _abstract(
  setup: Setup, config: Mapping[str, Any], source: pathlib.Path, told: str
) -> TrainState:
  """The shapes of the state that a run left: those of the run to start, or of its bare decoder."""
  if "sites" not in config:
    return setup.solo
  old = json.loads((source / "manifest.json").read_text())["config"]
  if "sites" not in old:
    return setup.solo
  # Shapes do not tell: heads of another number, or another alphabet of the same size, fit as well.
  lines = difference({"decoder": _decoder(old)}, {"decoder": _decoder(config)})
  before, after = old["data"]["source"], config["data"]["source"]
  if before != after:
    if source_lib.load(before, setup.data_dir).class_names != setup.source.class_names:
      lines.append(f"data.source: {before} -> {after}, whose tokens stand for something else")
  if lines:
    raise ConfigError(
      f"{told} is a run of another decoder, or of other tokens:\n  " + "\n  ".join(lines)
    )
  if old["sites"] or not config["sites"]:
    return setup.solo
  return build(old, setup.data_dir, list(setup.mesh.devices.flat)).solo


def _decoder(config: Mapping[str, Any]) -> dict[str, Any]:
  """What a config's decoder computes, defaults and all; its compute type only rounds otherwise."""
  section = hyper_lib.section(config, "decoder", {})
  parameters = inspect.signature(resolve(section["fn"])).parameters
  whole = {name: parameter.default for name, parameter in parameters.items()} | section
  return {name: value for name, value in whole.items() if name not in ("dtype", "out")}
