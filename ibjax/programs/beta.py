"""The schedule of beta: a hyperparameter of every objective that has a beta."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from ibjax.core.errors import ConfigError
from ibjax.core.resolver import bind, method_modules, resolve
from ibjax.core.types import DataSpec, Scalar
from ibjax.programs import hyper as hyper_lib

CONSTANT = {"fn": "ibjax.core.schedules:constant"}


def is_scheduled(config: Mapping[str, Any]) -> bool:
  """Whether the config's beta changes during training.

  Args:
    config: the resolved config (plain nested dictionaries).

  Returns:
    False for the constant schedule without further keys, which then costs nothing.
  """
  return dict(config.get("beta_schedule", CONSTANT)) != CONSTANT


def scheduled_beta(
  config: Mapping[str, Any], spec: DataSpec, hyper: Mapping[str, Any], step: Any
) -> Scalar:
  """Returns the beta of a step.

  Formula: objective.beta * schedule(step, total steps).

  Args:
    config: the resolved config, with a schedule of beta.
    spec: the data's description, for the length of the run and of an epoch.
    hyper: traced hyperparameters; {} takes the config's own numbers.
    step: the number of updates done; may be traced.

  Returns:
    A float32 scalar.

  Raises:
    ConfigError: the objective has no beta (names those that have one), the schedule's name,
      keyword, type or range is wrong, or a text of it is not a duration.
  """
  objective = hyper_lib.section(config, "objective", hyper)
  parameter = inspect.signature(resolve(objective["fn"])).parameters.get("beta")
  if parameter is None:
    raise ConfigError(
      f"config.beta_schedule multiplies a beta, and {objective['fn']} has none. Objectives with "
      f"one: {', '.join(objectives_with_beta())}. Or remove config.beta_schedule's keys and set "
      f"its fn to {CONSTANT['fn']!r}."
    )
  section = hyper_lib.section(config, "beta_schedule", hyper)
  schedule = bind(hyper_lib.durations(section, "beta_schedule", config, spec))
  return objective.get("beta", parameter.default) * schedule(step, float(spec.total_steps))


def objectives_with_beta() -> list[str]:
  """Names of the objectives whose factory has a keyword `beta`, by discovery.

  Returns:
    Names in alphabetical order, e.g. "ceb", "vib".

  Example:
    >>> from ibjax.programs.beta import objectives_with_beta
    >>> {"ceb", "vib"} <= set(objectives_with_beta())
    True
  """
  found = []
  for module in method_modules("ibjax.objectives"):
    name = module.rpartition(".")[2]
    factory = getattr(importlib.import_module(module), name, None)
    if callable(factory) and "beta" in inspect.signature(factory).parameters:
      found.append(name)
  return sorted(found)
