"""From a resolved config to everything a run needs, before anything is computed."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.core import rng
from ibjax.core.config import difference, flatten
from ibjax.core.errors import ConfigError, InputError, unknown
from ibjax.core.resolver import bind, resolve
from ibjax.core.types import DataSpec, Program, Tree
from ibjax.data import feed, order
from ibjax.data import source as source_lib
from ibjax.data.source import Source, Split
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.plane import Plane
from ibjax.programs.scope import scoped
from ibjax.programs.views import count_views
from ibjax.train import mesh as mesh_lib
from ibjax.train.members import STRATEGIES, PopulationRunner, padded, stack
from ibjax.train.runner import Runner
from ibjax.train.scope import check_name, check_scope, objective_of


@dataclasses.dataclass(frozen=True)
class Setup:
  """A run, or a population of runs, ready to start.

  Attributes:
    config: the resolved config; of a population, its first member's.
    configs: the resolved config of every member; (config,) for a run.
    source: the data set.
    splits: "train", "test" and, if asked for, "validation".
    mesh: the device mesh.
    spec: what the program knows of the data.
    program: pure functions.
    hyper: traced hyperparameters, [members] each for a population.
    abstract: shapes, dtypes and shardings of the state as checkpoints hold it.
    solo: the same of one run's state; equal to `abstract` for a run.
    runner: the compiled functions.
    plane: what is measured of the layers while training; None when `config.plane` is off.
    data_dir: where prepared data sets live.
  """

  config: Mapping[str, Any]
  configs: tuple[Mapping[str, Any], ...]
  source: Source
  splits: Mapping[str, Split]
  mesh: Mesh
  spec: DataSpec
  program: Program
  hyper: dict[str, np.ndarray]
  abstract: Tree
  solo: Tree
  runner: Runner | PopulationRunner
  plane: Plane | None = None
  data_dir: str | os.PathLike | None = None

  def steps(self, key: str) -> int:
    """Converts a duration of the config ("train.duration") to steps; "" never comes."""
    section, name = key.split(".")
    text = self.config[section][name]
    return hyper_lib.steps(text, key, self.config, self.spec.steps_per_epoch)

  @functools.cached_property
  def resident(self) -> bool:
    """Whether the training data live on the devices."""
    return feed.is_resident(self.config["data"]["placement"], self.splits["train"].nbytes)

  def train_feed(self) -> feed.ResidentFeed | feed.StreamedFeed:
    """Opens the feed of training batches."""
    seeds = self.hyper["seed"]
    options = dict(
      batch_size=self.config["data"]["batch_size"],
      depth=self.config["train"]["steps_per_dispatch"],
    )
    if seeds.ndim:
      return feed.ResidentFeed(self.splits["train"], self.mesh, seed=seeds.tolist(), **options)
    kind = feed.ResidentFeed if self.resident else feed.StreamedFeed
    return kind(self.splits["train"], self.mesh, seed=int(seeds), **options)

  def eval_feed(self, split: str) -> feed.EvalFeed:
    """Opens the feed of one split's evaluation batches."""
    batch_size = self.config["eval"]["batch_size"]
    return feed.EvalFeed(
      self.splits[split], self.mesh, batch_size=batch_size, resident=self.resident
    )


def build(
  config: Mapping[str, Any],
  data_dir: str | os.PathLike | None = None,
  devices: list[Any] | None = None,
) -> Setup:
  """Builds a run from its resolved config; nothing is put on a device yet.

  Args:
    config: the resolved config (plain nested dictionaries).
    data_dir: where prepared data sets live.
    devices: the devices to use; all when None.

  Returns:
    A `Setup`.

  Raises:
    ConfigError: a value that does not fit; every check that can be made now is.
    DataError: the data set is missing or not fit to train on.
  """
  _check_values(config)
  mesh = mesh_lib.make_mesh(config["mesh"], devices)
  mesh_lib.check_batch(config["data"]["batch_size"], config["train"]["accumulate"], mesh)
  mesh_lib.check_eval_batch(config["eval"]["batch_size"], mesh)
  source = source_lib.load(config["data"]["source"], data_dir)
  splits, labels = _splits(config, source)
  _check_shares(source, splits, mesh)
  spec = _spec(config, source, splits, labels)
  check_scope(config, mesh)
  placed = mesh_lib.spread(scoped(config, mesh), mesh)
  program = resolve(config["program"])(placed, mesh, spec)
  _check_budget(placed)
  hyper = hyper_lib.traced(config)
  _check_assessors(config, program, data_dir)
  shapes = jax.eval_shape(program.init, hyper)
  shardings = mesh_lib.state_shardings(shapes, config["sharding"], mesh)
  abstract = _abstract(shapes, shardings)
  runner = Runner(program, mesh, shardings)
  plane = _plane(placed, spec, splits)
  return Setup(
    config=config,
    configs=(config,),
    source=source,
    splits=splits,
    mesh=mesh,
    spec=spec,
    program=program,
    hyper=hyper,
    abstract=abstract,
    solo=abstract,
    runner=runner,
    plane=plane,
    data_dir=data_dir,
  )


def _check_budget(config: Mapping[str, Any]) -> None:
  """Raises ConfigError unless a dictionary that chooses over a batch has enough of it.

  Its budget is the product of a number that is traced later and the size of a microbatch; only
  here are both known.
  """
  if not str(config.get("bottleneck", {}).get("fn", "")).startswith("ibjax.bottlenecks.sparse."):
    return
  train, batch_size = config["train"], config["data"]["batch_size"]
  rows = batch_size // train["accumulate"] * train["samples"] * max(count_views(config), 1)
  bottleneck = bind(hyper_lib.section(config, "bottleneck", {}))

  def apply():
    key = rng.root_key(0)
    features = jnp.zeros((rows, bottleneck.features))
    return bottleneck.apply(*bottleneck.init(key), features, key=key, train=True)

  try:
    jax.eval_shape(apply)
  except InputError as error:
    raise ConfigError(
      f"config.bottleneck: {error} (config.data.batch_size={batch_size}, "
      f"config.train.accumulate={train['accumulate']})"
    ) from error


def _check_assessors(
  config: Mapping[str, Any], program: Program, data_dir: str | os.PathLike | None
) -> None:
  asked = config.get("assess", {})
  if asked and program.forward is None:
    raise ConfigError(
      f"config.program='{config['program']}' gives no model that config.assess could look at. "
      "Remove config.assess's keys."
    )
  for name in asked:
    if name in (taken := ("train", "validation", "test", "train_split", "plane")):
      raise ConfigError(f"config.assess.{name}: {', '.join(taken)} are names of the run's own.")
    section = hyper_lib.section(asked, name, {})
    bind(section)
    for needed in getattr(importlib.import_module(resolve(section["fn"]).__module__), "NEEDS", ()):
      if getattr(program, needed) is None:
        raise ConfigError(
          f"config.assess.{name} needs the {needed} of a program, which "
          f"config.program='{config['program']}' has not. Remove config.assess.{name}."
        )
    # Data sets that it will ask for, at the end of the run: better missed now.
    parameter = inspect.signature(resolve(section["fn"])).parameters.get("sources")
    for source in section.get("sources", parameter.default if parameter else ()):
      source_lib.load(source, data_dir)


def _plane(config: Mapping[str, Any], spec: DataSpec, splits: Mapping[str, Split]) -> Plane | None:
  asked = config.get("plane", {})
  if not asked.get("fn"):
    return None
  for split in asked["splits"]:
    if split not in splits:
      raise ConfigError(unknown("split in config.plane.splits", split, splits))
  return resolve(asked["fn"])(config, spec)


def build_population(
  configs: Sequence[Mapping[str, Any]],
  data_dir: str | os.PathLike | None = None,
  devices: list[Any] | None = None,
  strategy: str = "",
) -> Setup:
  """Builds a population from its members' resolved configs, which differ in traced values only.

  Args:
    configs: the members' resolved configs; at least one.
    data_dir: where prepared data sets live.
    devices: the devices to use; all when None (of CPUs, no more than there are members, and of
      every process one at least). Unless the config's mesh says otherwise, as many of them as
      divide evenly lie on the population axis, the rest on the data axis.
    strategy: "vmap" or "loop" (see `PopulationRunner`); "" takes "loop" on CPUs.

  Returns:
    A `Setup` whose hyperparameters and state have a leading axis of members.

  Raises:
    ConfigError: as `build`; members that are not one program; data that are not resident.
    DataError: the data set is missing or not fit to train on.
  """
  first = configs[0]
  for config in configs[1:]:
    check_one_program(first, config)
    _check_values(config)
  laid = dict(first["mesh"])
  free = laid["population"] == 1 and laid["data"] == -1 and laid["model"] > 0
  if devices is None:
    devices = jax.devices()
    if free and devices[0].platform == "cpu":
      # Cores that would split a batch between them do better as threads of one device. Every
      # process has a part of the members, so it keeps a device at least.
      most = laid["model"] * (1 if _is_alone(first) else -(-len(configs) // jax.process_count()))
      devices = [d for i in range(jax.process_count()) for d in _of(devices, i)[:most]]
  if free:
    left = len(devices) // laid["model"]
    fits = [d for d in range(1, left + 1) if left % d == 0 and d <= len(configs)]
    # With a model axis, members or examples are spread, not both: see `_check_axes_of`.
    laid["population"] = max(d for d in fits if laid["model"] == 1 or d in (1, left))
  run = build({**first, "mesh": laid}, data_dir, devices)
  _check_axes_of(run.mesh)
  if first["checkpoint"]["best"]:
    raise ConfigError(
      f"config.checkpoint.best='{first['checkpoint']['best']}' picks another step for each member, "
      "which a population does not do: all members end at the same step. Leave it empty, or use "
      "`ibjax sweep`, which runs the members one by one."
    )
  if not run.resident:
    raise ConfigError(
      "a population trains on data that live on the devices, and config.data.placement="
      f"'{first['data']['placement']}' streams this set "
      f"({run.splits['train'].nbytes / 2**30:.2f} GiB). Set "
      "config.data.placement=resident if it fits, or use `ibjax sweep`, run by run."
    )
  for config in configs:  # the ranges of every member's values, before they are traced
    placed = mesh_lib.spread(scoped(config, run.mesh), run.mesh)
    resolve(first["program"])(placed, run.mesh, run.spec)
    _check_budget(placed)
  mesh, size = run.mesh, len(configs)
  strategy = strategy or ("loop" if devices[0].platform == "cpu" else "vmap")
  if strategy not in STRATEGIES:
    raise ConfigError(unknown("strategy", strategy, STRATEGIES))
  count = padded(size, mesh)
  hyper = stack([hyper_lib.traced(config) for config in configs], count)
  shapes = jax.eval_shape(jax.vmap(run.program.init), hyper)
  shardings = jax.tree.map(
    lambda leaf: NamedSharding(mesh, PartitionSpec("population", *leaf.sharding.spec)), run.abstract
  )
  runner = PopulationRunner(
    run.program,
    mesh,
    shardings,
    jax.tree.map(lambda leaf: leaf.sharding, run.abstract),
    size,
    strategy,
  )
  return dataclasses.replace(
    run,
    config=first,
    configs=tuple(configs),
    hyper=hyper,
    abstract=_abstract(shapes, shardings),
    solo=run.abstract,
    runner=runner,
  )


def _check_axes_of(mesh: Mesh) -> None:
  """Raises ConfigError for a population on a mesh whose program XLA does not partition.

  With more than one device on all three axes, XLA (jax 0.10) ends the process with a failed check
  of its own while it partitions a gather.
  """
  if all(mesh.shape[axis] > 1 for axis in mesh_lib.AXES):
    asked = ", ".join(f"{axis}={mesh.shape[axis]}" for axis in mesh_lib.AXES)
    raise ConfigError(
      f"config.mesh ({asked}): a population spreads over two of the axes at most. Set one of them "
      "to 1, for example config.mesh.data=1."
    )


def _of(devices: Sequence[Any], process: int) -> list[Any]:
  return [device for device in devices if device.process_index == process]


def _is_alone(config: Mapping[str, Any]) -> bool:
  objective = objective_of(config)
  return objective is not None and objective.alone


def check_one_program(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
  """Raises ConfigError unless two configs differ in traced values alone.

  Args:
    first: a resolved config.
    other: another.

  Raises:
    ConfigError: names the keys that shape the program, and says where to vary them.
  """
  if hyper_lib.static_key(first) == hyper_lib.static_key(other):
    return
  free = (hyper_lib.traced(first).keys() & hyper_lib.traced(other).keys()) | {"warm_start"}
  lines = [line for line in difference(first, other) if line.split(":")[0] not in free]
  raise ConfigError(
    "the members of a population share one compiled program, so they may differ in the seed and "
    "in floats of the sections " + ", ".join(hyper_lib.SECTIONS) + ". These differ and shape the "
    "program or the run:\n  " + "\n  ".join(lines) + "\nVary them in the outer sweep "
    "(`ibjax sweep --axes=...`), which runs one job each."
  )


def _abstract(shapes: Tree, shardings: Tree) -> Tree:
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    shapes,
    shardings,
  )


def _spec(
  config: Mapping[str, Any],
  source: Source,
  splits: Mapping[str, Split],
  labels: np.ndarray,
) -> DataSpec:
  batch_size, n = config["data"]["batch_size"], splits["train"].n
  if batch_size > n:
    raise ConfigError(
      f"config.data.batch_size={batch_size} is larger than the training split of "
      f"'{source.name}' ({n} examples); use {n} or less."
    )
  per_epoch = n // batch_size
  counts = np.bincount(labels, minlength=source.num_classes)
  spec = DataSpec(
    x_shape=source.x_shape,
    x_dtype=source.x_dtype,
    num_classes=source.num_classes,
    label_probs=(counts / max(1, counts.sum())).astype(np.float32),
    steps_per_epoch=per_epoch,
    total_steps=hyper_lib.steps(
      config["train"]["duration"], "config.train.duration", config, per_epoch
    ),
    target_dim=source.target_dim,
    target_entropy_nats=source.target_entropy_nats,
    n_train=n,
  )
  for key in ("train.log_every", "eval.every", "checkpoint.every"):
    section, name = key.split(".")
    if hyper_lib.steps(config[section][name], f"config.{key}", config, per_epoch) < 1:
      raise ConfigError(f"config.{key}={config[section][name]!r} is less than one step.")
  return spec


def _splits(config: Mapping[str, Any], source: Source) -> tuple[dict[str, Split], np.ndarray]:
  splits, labels = dict(source.splits), source.train_labels
  if "train" not in splits:
    raise ConfigError(
      f"'{source.name}' has no training split here, only {', '.join(sorted(splits))}; it serves as "
      "an outside of another set (ibjax.evaluators.outside). Train on another source."
    )
  count, n = config["data"]["validation"], splits["train"].n
  if not 0 <= count < n:
    raise ConfigError(f"config.data.validation={count} must be at least 0 and less than {n}.")
  if count:
    if "validation" in splits:
      raise ConfigError(
        f"'{source.name}' has a validation split of its own; set config.data.validation=0."
      )
    rows, held = order.held_out(n, count)
    splits["validation"] = feed.subset(splits["train"], held)
    splits["train"] = feed.subset(splits["train"], rows)
    labels = labels if source.target_dim else labels[rows]
  if config["checkpoint"]["best"] and "validation" not in splits:
    raise ConfigError(
      f"config.checkpoint.best='{config['checkpoint']['best']}' selects by validation data, and "
      "there are none (selecting by test data is not offered). Set config.data.validation."
    )
  return splits, labels


def _check_shares(source: Source, splits: Mapping[str, Split], mesh: Mesh) -> None:
  """Raises ConfigError unless each process has rows of every split to read."""
  processes = mesh_lib.processes(mesh)
  for name, split in splits.items():
    if split.n < processes:
      raise ConfigError(
        f"the split '{name}' of '{source.name}' has {split.n} examples, fewer than the "
        f"{processes} processes that share them. Start 1 to {split.n} processes."
      )


def _check_values(config: Mapping[str, Any]) -> None:
  for key, value in flatten(config):
    if isinstance(value, float) and not np.isfinite(value):
      raise ConfigError(f"config.{key}={value} is not a finite number.")
  positive = (
    "data.batch_size",
    "eval.batch_size",
    "eval.samples",
    "train.steps_per_dispatch",
    "train.samples",
    "train.accumulate",
    "checkpoint.keep",
  )
  for key in positive:
    section, name = key.split(".")
    if config[section][name] < 1:
      raise ConfigError(f"config.{key}={config[section][name]} must be at least 1.")
  if config["seed"] < 0 or config["seed"] >= 2**31:
    raise ConfigError(f"config.seed={config['seed']} must be in 0..{2**31 - 1}.")
  check_name(config)
  if config["data"]["placement"] not in (placements := ("auto", "resident", "streamed")):
    raise ConfigError(
      f"config.data.placement='{config['data']['placement']}' is unknown; known: {placements}."
    )
  ema, clip = config["train"]["ema"], config["train"]["clip_norm"]
  if ema is not None and not 0 <= ema < 1:
    raise ConfigError(f"config.train.ema={ema} must be in [0, 1).")
  if clip is not None and clip <= 0:
    raise ConfigError(f"config.train.clip_norm={clip} must be greater than 0.")
  rate = config["optimizer"].get("learning_rate")
  if rate is None or rate < 0:
    raise ConfigError(f"config.optimizer.learning_rate={rate} must be set, and not negative.")
