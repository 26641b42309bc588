"""Checks of a run's batch scope, before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from ibjax.core.errors import ConfigError, unknown
from ibjax.core.resolver import bind
from ibjax.core.scope import SCOPES
from ibjax.core.types import Objective
from ibjax.programs.hyper import section

LEAST = 2  # examples of a part: one alone is coupled to nothing
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")


def check_name(config: Mapping[str, Any]) -> None:
  """Raises ConfigError unless `config.batch_scope` is a scope there is.

  Args:
    config: the resolved config.

  Raises:
    ConfigError: names the nearest.
  """
  if config["batch_scope"] not in SCOPES:
    raise ConfigError(unknown("config.batch_scope", str(config["batch_scope"]), SCOPES))


def objective_of(config: Mapping[str, Any]) -> Objective | None:
  """Builds the objective of a config from its own numbers.

  Args:
    config: the resolved config.

  Returns:
    The objective; None of a config without one.
  """
  return bind(section(config, "objective", {})) if "objective" in config else None


def check_scope(config: Mapping[str, Any], mesh: Mesh) -> None:
  """Raises ConfigError unless a coupled objective can be evaluated over the mesh.

  Args:
    config: the resolved config.
    mesh: the device mesh.

  Raises:
    ConfigError: a scope per device on a mesh whose size the config does not give, with several
      codes of an input, or with fewer than two examples in a part; matrix decompositions on
      several devices of a CPU that would wait for each other.
  """
  objective = objective_of(config)
  if objective is None or not objective.couples:
    return
  if objective.alone:
    _check_threads(config, mesh)
  if config["batch_scope"] != "device":
    return
  devices = mesh.shape["data"]
  if config["mesh"]["data"] != devices:
    over = mesh.shape["population"]
    members = f" and config.mesh.population={over}" if over > 1 else ""
    raise ConfigError(
      f"config.batch_scope=device evaluates {_name(config)} on each device's part of the batch, so "
      "the number of devices is part of what is minimised, and config.mesh.data="
      f"{config['mesh']['data']} leaves it to the machine. Set config.mesh.data={devices}{members} "
      "(what there is here), or the number of parts that you want."
    )
  if config["train"]["samples"] > 1:
    raise ConfigError(
      f"config.train.samples={config['train']['samples']} draws several codes of an input, which "
      f"{_name(config)} would hold against each other; with config.batch_scope=device set "
      "config.train.samples=1."
    )
  _check_part("data.batch_size", config, devices, config["train"]["accumulate"])
  _check_part("eval.batch_size", config, devices, 1)


def _check_part(key: str, config: Mapping[str, Any], devices: int, accumulate: int) -> None:
  group, name = key.split(".")
  size, over = config[group][name], devices * accumulate
  if size // over >= LEAST:
    return
  most = size // (LEAST * accumulate)
  works = max((d for d in range(1, most + 1) if size % (d * accumulate) == 0), default=0)
  fewer = f", or config.mesh.data={works}" if works else ""
  raise ConfigError(
    f"config.{key}={size} over {devices} devices of the data axis"
    + (f" times {accumulate} microbatches" if accumulate > 1 else "")
    + f" leaves a part of {size // over} example(s), and config.batch_scope=device compares the "
    f"examples within a part: at least {LEAST}. config.{key}={LEAST * over} or a larger multiple "
    f"of {over} would work{fewer}."
  )


def _check_threads(config: Mapping[str, Any], mesh: Mesh) -> None:
  own = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
  if len(own) < 2 or own[0].platform != "cpu":
    return
  if not any(os.environ.get(name) == "1" for name in ONE_THREAD):
    raise ConfigError(
      f"{_name(config)} decomposes matrices, which {len(own)} devices of one CPU process would do "
      "at once, and the threads of the linear algebra library (OpenBLAS) then wait for each other, "
      "for minutes or for ever. Start the command with OPENBLAS_NUM_THREADS=1, or use one device."
    )


def _name(config: Mapping[str, Any]) -> str:
  return config["objective"]["fn"].rpartition(":")[2]
