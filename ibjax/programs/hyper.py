"""Which numbers of a config are traced: every float of the method's sections, and the seed.

They enter the compiled program as arguments, not constants. So a new beta does not compile
anew, and a population of betas is the same program under `vmap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core import config as config_lib
from ibjax.core.duration import to_steps
from ibjax.core.types import DataSpec

SECTIONS = (
  *("views", "encoder", "bottleneck", "decoder", "objective", "beta_schedule"),
  *("optimizer", "schedule", "train", "co_teaching"),
)


def traced(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns the traced hyperparameters of a resolved config.

  Args:
    config: the resolved config (plain nested dictionaries).

  Returns:
    {"seed": int32 scalar, "objective.beta": float32 scalar, ...} for every float leaf of the
    sections in `SECTIONS`. Integers and booleans shape the program and stay constants.

  Example:
    >>> from ibjax.programs.hyper import traced
    >>> sorted(traced({"seed": 0, "objective": {"fn": "...", "beta": 1e-3}}))
    ['objective.beta', 'seed']
  """
  values = {"seed": np.asarray(config["seed"], np.int32)}
  for section in SECTIONS:
    for path, value in config_lib.flatten(config.get(section, {}), f"{section}."):
      if isinstance(value, float):
        values[path] = np.asarray(value, np.float32)
  return values


def static_key(config: Mapping[str, Any]) -> str:
  """Names the program of a config: configs with one key differ in traced values alone.

  Args:
    config: the resolved config (plain nested dictionaries).

  Returns:
    12 hex digits, of the config without its traced values and without the run it starts from;
    equal for configs that one compiled program, or one population, can train.

  Example:
    >>> from ibjax.programs.hyper import static_key
    >>> one = {"seed": 0, "objective": {"fn": "...", "beta": 1e-3}}
    >>> static_key(one) == static_key({"seed": 7, "objective": {"fn": "...", "beta": 0.1}})
    True
    >>> static_key(one) == static_key({"seed": 0, "objective": {"fn": "...", "beta": None}})
    False
  """
  moving = traced(config)
  free = {*moving, "warm_start"}
  static = {key: value for key, value in config_lib.flatten(config) if key not in free}
  # The names of the traced values too: a beta that is absent is another program.
  return config_lib.config_hash({"static": static, "traced": sorted(moving)})


def section(config: Mapping[str, Any], name: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
  """Returns one section with its traced values put in, and lists turned back into tuples.

  Sections within the section are treated alike, for a method that wraps another.

  Args:
    config: the resolved config (plain nested dictionaries).
    name: the section, e.g. "objective".
    hyper: traced values by their full path, e.g. "objective.beta"; {} keeps the config's own.

  Returns:
    Keyword -> value, ready for `bind`.
  """
  return _filled(config[name], f"{name}.", hyper)


def _filled(values: Mapping[str, Any], prefix: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
  filled = {}
  for key, value in values.items():
    path = f"{prefix}{key}"
    if isinstance(value, Mapping):
      filled[key] = _filled(value, f"{path}.", hyper)
    else:
      filled[key] = _tuples(hyper.get(path, value))
  return filled


def _tuples(value: Any) -> Any:
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def durations(
  values: dict[str, Any], name: str, config: Mapping[str, Any], spec: DataSpec
) -> dict[str, Any]:
  """Turns the durations of a section ("warmup": "2 epochs") into steps ("warmup_steps": 600).

  Args:
    values: a section; every text but "fn" is a duration.
    name: the section's name, for the message.
    config: the resolved config (plain nested dictionaries).
    spec: the data's description.

  Returns:
    The section with such texts replaced; steps are floats.

  Raises:
    ConfigError: a text is not a duration.
  """
  result = {}
  for key, value in values.items():
    if key != "fn" and isinstance(value, str):
      key, value = (
        f"{key}_steps",
        float(steps(value, f"config.{name}.{key}", config, spec.steps_per_epoch)),
      )
    result[key] = value
  return result


def steps(text: str, name: str, config: Mapping[str, Any], steps_per_epoch: int) -> int:
  """Converts one duration of the config to steps.

  Args:
    text: a duration, e.g. "10 epochs".
    name: the config key, for the message.
    config: the resolved config (plain nested dictionaries).
    steps_per_epoch: whole batches in the training split.

  Returns:
    The number of steps, rounded up.

  Raises:
    ConfigError: not a number and a unit.
  """
  batch_size = config["data"]["batch_size"]
  return to_steps(text, batch_size=batch_size, steps_per_epoch=steps_per_epoch, name=name)
