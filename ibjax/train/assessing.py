"""Measuring a trained model at the end of its run, as `config.assess` asks for."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core.errors import ConfigError, unknown
from ibjax.core.resolver import bind
from ibjax.core.types import Tapped, Trained, TrainState
from ibjax.data import feed
from ibjax.data import source as source_lib
from ibjax.programs import hyper as hyper_lib
from ibjax.train.setup import Setup

Found = dict[str, dict[str, float]]


def assessor(setup: Setup) -> Callable[..., Found]:
  """Returns what measures trained models of a setup; compiled once for all its members.

  Args:
    setup: the run, or the population.

  Returns:
    `assess(config, state, folder=None) -> {name: {metric: value}}` for a resolved config of the
    setup, its own state and the run's folder; {} when `config.assess` asks for nothing.

  Raises:
    ConfigError: an assessor asks for a split that its source lacks.
  """
  asked = setup.config.get("assess", {})
  if not asked:
    return lambda config, state, folder=None: {}
  see = viewer(setup)

  def assess(
    config: Mapping[str, Any], state: TrainState, folder: pathlib.Path | None = None
  ) -> Found:
    trained = see(config, state)._replace(folder=folder)
    assessors = {name: bind(hyper_lib.section(asked, name, {})) for name in asked}
    return {
      name: {metric: float(value) for metric, value in measure(trained).items()}
      for name, measure in assessors.items()
    }

  return assess


def viewer(setup: Setup) -> Callable[[Mapping[str, Any], TrainState], Trained]:
  """Returns what makes functions on host arrays of a trained model; compiled once for all members.

  Args:
    setup: the run, or the population; its program has `forward`.

  Returns:
    `see(config, state) -> Trained` for a resolved config of the setup and its own state.

  Raises:
    ConfigError: later, when data of a split are asked for that its source lacks.
  """
  program = setup.program
  assert program.forward is not None  # checked by `build`
  forward = jax.jit(program.forward)
  gradient = jax.jit(program.gradient) if program.gradient is not None else None
  decode = jax.jit(program.decode) if program.decode is not None else None
  everywhere = NamedSharding(setup.mesh, PartitionSpec())
  whole = jax.jit(lambda state: state, out_shardings=everywhere)
  size = setup.config["eval"]["batch_size"]
  value_range = tuple(setup.config["data"]["value_range"])
  tokens = setup.spec.x_dtype == np.int32
  x_dtype = np.int32 if tokens else np.float32

  @functools.lru_cache(maxsize=8)
  def data(name: str, split: str = "test") -> dict[str, np.ndarray]:
    splits = setup.splits
    if name:
      splits = source_lib.load(name, setup.data_dir).splits
    if split not in splits:
      raise ConfigError(unknown(f"split of '{name or setup.source.name}'", split, splits))
    found = feed.read_all(splits[split])
    if tokens:
      return found
    return {**found, "x": np.asarray(feed.to_float(jnp.asarray(found["x"]), value_range))}

  def see(config: Mapping[str, Any], state: TrainState) -> Trained:
    # On the host, a state that is spread over the devices of several processes is whole in each.
    # Without the optimiser's part, which nothing here reads and which is most of it.
    own, hyper = jax.device_get(whole(state._replace(opt_state=()))), hyper_lib.traced(config)

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
      parts = [
        {name: np.asarray(value)[:n] for name, value in forward(own, rows, i, hyper).items()}
        for i, (n, rows) in enumerate(batches(np.asarray(x, x_dtype), size))
      ]
      return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
      if gradient is None:
        raise ConfigError(
          f"config.assess asks for gradients by the input, which {config['program']} has not."
        )
      pairs = zip(batches(np.asarray(x, np.float32), size), batches(np.asarray(y), size))
      parts = [
        np.asarray(gradient(own, rows, labels, i, hyper))[:n]
        for i, ((n, rows), (_, labels)) in enumerate(pairs)
      ]
      return np.concatenate(parts)

    def read(code: np.ndarray) -> np.ndarray:
      assert decode is not None
      rows = enumerate(batches(np.asarray(code, np.float32), size))
      return np.concatenate([np.asarray(decode(own, x, i, hyper))[:n] for i, (n, x) in rows])

    functions = {
      name: functools.partial(function, own, hyper)
      for name, function in (program.functions or {}).items()
    }
    return Trained(
      data=data,
      forward=run,
      gradient=slope,
      value_range=value_range if setup.spec.x_dtype == np.uint8 else None,
      num_classes=setup.spec.num_classes,
      label_probs=np.asarray(setup.spec.label_probs),
      seed=config["seed"],
      config=config,
      target_scale=setup.source.target_scale,
      decode=None if decode is None else read,
      params=own.params if config["train"]["ema"] is None else own.ema,
      functions=functions,
      names=tuple(setup.source.class_names),
      open=functools.partial(open_tapped, data_dir=setup.data_dir),
      data_dir=setup.data_dir,
    )

  return see


def open_tapped(folder: str, data_dir: str | os.PathLike | None = None) -> Tapped:
  """Opens the newest checkpoint of a run as a model whose layers can be read and written.

  Args:
    folder: the run's.
    data_dir: where prepared data sets live.

  Returns:
    A `Tapped`.
  """
  from ibjax.train.tap import open_run, tap  # here: it cuts batches by what stands below

  setup, state, _ = open_run(folder, data_dir)
  return tap(setup, state)


def batches(x: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
  """Cuts rows into batches of one shape, so that one is compiled.

  Args:
    x: [n, ...].
    size: rows of a batch.

  Yields:
    (rows that count, [size, ...] with the last batch filled up by its first row).
  """
  for first in range(0, len(x), size):
    part = x[first : first + size]
    fill = np.repeat(part[:1], size - len(part), axis=0)
    yield len(part), np.concatenate([part, fill])
