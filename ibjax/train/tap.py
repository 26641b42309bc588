"""A trained run as a model whose layers can be read and written."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core import rng
from ibjax.core.config import measures
from ibjax.core.errors import ConfigError, InputError, unknown
from ibjax.core.types import Tapped, TrainState
from ibjax.data import feed
from ibjax.data import source as source_lib
from ibjax.models.capture import recording
from ibjax.models.splice import splicing
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.network import parts
from ibjax.train import records
from ibjax.train.assessing import batches
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.setup import Setup, build

Array = jax.Array


def open_run(
  folder: str | os.PathLike,
  data_dir: str | os.PathLike | None = None,
  step: int | None = None,
  samples: int | None = None,
) -> tuple[Setup, TrainState, int]:
  """Opens a checkpoint of a run.

  Args:
    folder: the run's.
    data_dir: where prepared data sets live.
    step: of the checkpoint; None for the newest.
    samples: codes drawn per example at evaluation; None takes the run's own number.

  Returns:
    (setup, state, step).

  Raises:
    ConfigError: no run, one that measures, one without a checkpoint, or data that changed.
    CheckpointError: no checkpoint of that step, or none that reads back.
  """
  workdir = pathlib.Path(folder)
  manifest = records.read_manifest(workdir) if workdir.is_dir() else None
  if manifest is None:
    raise ConfigError(f"{workdir} holds no run (there is no manifest.json).")
  config = manifest["config"]
  if measures(config):
    raise ConfigError(f"{workdir} holds a run that measures; it has no model to look at.")
  if samples is not None:
    config["eval"]["samples"] = samples
  setup = build(config, data_dir)
  if manifest["data"]["fingerprint"] != setup.source.fingerprint:
    raise ConfigError(f"the data set '{setup.source.name}' is not the one {workdir} trained on.")
  checkpoints = Checkpoints(workdir / "checkpoints", keep=1, best="", report=print, read_only=True)
  restored = checkpoints.restore(setup.abstract, step)
  checkpoints.close()
  if restored is None:
    raise ConfigError(f"{workdir} has no checkpoint yet; train it first.")
  return setup, restored[1], restored[0]


def tap(setup: Setup, state: TrainState) -> Tapped:
  """Returns a trained model as functions that read and write its layers, in evaluation mode.

  Layers are named as for the information plane: "encoder/dense_1.in" is what enters that layer,
  "decoder/dense_0.out" what leaves it, "bottleneck.out" the code; of a language model, which has
  one part, "block_0/mlp.out". The last axis of a layer is its width, all between it and the first
  are positions; of a language model the second axis is positions, all after it are width.

  Args:
    setup: the run.
    state: its state.

  Returns:
    A `Tapped`; its functions raise ConfigError for a layer that the model does not have, and
    InputError for a value of another shape.

  Raises:
    ConfigError: as its functions do.
    InputError: as its functions do.
  """
  everywhere = NamedSharding(setup.mesh, PartitionSpec())
  whole = jax.jit(lambda state: state, out_shardings=everywhere)(state._replace(opt_state=()))
  own = jax.device_get(whole)
  weights = own.params if setup.config["train"]["ema"] is None else own.ema
  hyper, size = hyper_lib.traced(setup.config), setup.config["eval"]["batch_size"]
  run = _tokens if "encoder" not in setup.config else _parts
  kept: dict[str, tuple[int, ...]] = {}

  @functools.partial(jax.jit, static_argnames="layer")
  def read(own, weights, x, hyper, layer):
    return _flat(setup, run(setup, own, weights, x, hyper)[0][layer])

  @functools.partial(jax.jit, static_argnames="layer")
  def write(own, weights, x, hyper, layer, value):
    return run(setup, own, weights, x, hyper, layer, value)[1]

  plain = jax.jit(lambda own, weights, x, hyper: run(setup, own, weights, x, hyper)[1])
  given = jax.eval_shape(
    lambda: run(setup, own, weights, jnp.zeros((1, *setup.spec.x_shape), _dtype(setup)), hyper)[0]
  )
  layers = tuple(name for name, value in given.items() if len(value.shape) > 1)

  def check(layer: str) -> None:
    if layer not in layers:
      raise ConfigError(unknown("layer", layer, layers, "See `ibjax data activations RUN`."))
    kept.setdefault(layer, _flat(setup, given[layer]).shape[1:])

  def capture(x: np.ndarray, layer: str) -> np.ndarray:
    check(layer)
    rows = batches(np.asarray(x, _dtype(setup)), size)
    found = [np.asarray(read(own, weights, b, hyper, layer))[:n] for n, b in rows]
    return np.concatenate(found).astype(np.float32)

  def outputs(x: np.ndarray, layer: str = "", value: np.ndarray | None = None) -> np.ndarray:
    x = np.asarray(x, _dtype(setup))
    if value is None:
      return np.concatenate(
        [np.asarray(plain(own, weights, b, hyper))[:n] for n, b in batches(x, size)]
      )
    check(layer)
    if np.shape(value) != (len(x), *kept[layer]):
      raise InputError(
        f"a value for layer '{layer}' has shape {list(np.shape(value))}, expected "
        f"{[len(x), *kept[layer]]}: it is of another model, layer or width."
      )
    pairs = zip(batches(x, size), batches(np.asarray(value, np.float32), size))
    return np.concatenate(
      [np.asarray(write(own, weights, b, hyper, layer, v))[:n] for (n, b), (_, v) in pairs]
    )

  @functools.lru_cache(maxsize=8)
  def data(name: str = "", split: str = "test") -> dict[str, np.ndarray]:
    splits = source_lib.load(name, setup.data_dir).splits if name else setup.splits
    if split not in splits:
      raise ConfigError(unknown(f"split of '{name or setup.source.name}'", split, splits))
    found = feed.read_all(splits[split])
    return {**found, "x": as_taken(setup, found["x"])}

  return Tapped(
    fingerprint=_digest(weights),
    layers=layers,
    data=data,
    capture=capture,
    outputs=outputs,
    source=setup.config["data"]["source"],
    targets=bool(setup.spec.target_dim),
    names=setup.source.class_names,
  )


def as_taken(setup: Setup, x: np.ndarray) -> np.ndarray:
  """Stored inputs as the model takes them: tokens as they are, all else floats in its range.

  Args:
    setup: the run.
    x: [n, ...] as a source gives them.

  Returns:
    The same shape, int32 or float32.
  """
  if _dtype(setup) == np.int32:
    return np.asarray(x, np.int32)
  return np.asarray(feed.to_float(jnp.asarray(x), tuple(setup.config["data"]["value_range"])))


def _dtype(setup: Setup) -> Any:
  return np.int32 if "encoder" not in setup.config else np.float32


def _flat(setup: Setup, value: Any) -> Any:
  """[n, width] or [n, positions, width]; of a shape as of an array."""
  shape = value.shape
  if len(shape) == 2:
    return value
  split = 2 if "encoder" not in setup.config else len(shape) - 1
  sizes = (shape[0], int(np.prod(shape[1:split])), int(np.prod(shape[split:])))
  if isinstance(value, jax.ShapeDtypeStruct):
    return jax.ShapeDtypeStruct(sizes, value.dtype)
  return value.reshape(sizes)


def _tokens(setup, own, weights, x, hyper, layer="", value=None):
  """One pass of a language model: (name -> what was recorded, logits)."""
  state = own._replace(params=weights, ema=() if not own.ema else weights)
  function = (lambda out: value.reshape(out.shape)) if value is not None else (lambda out: out)
  with recording() as record, splicing(layer, function):
    out = setup.program.forward(state, x, jnp.int32(0), hyper)["logits"]
  return dict(record), out


def _parts(setup, own, weights, x, hyper, layer="", value=None):
  """One pass through encoder, bottleneck and decoder: (name -> what was recorded, outputs)."""
  encoder, bottleneck, decoder, _ = parts(setup.config, setup.spec, hyper, own.step)
  key = rng.stream(rng.root_key(hyper["seed"]), "tap")
  found: dict[str, Array] = {}

  def spliced(out: Array) -> Array:
    return out if value is None else value.reshape(out.shape)

  def apply(name: str, component: Any, inputs: Array) -> Array:
    inside = layer.removeprefix(name).removeprefix("/") if layer.startswith(name) else ""
    with recording() as record, splicing(inside, spliced):
      out, _ = component.apply(
        weights[name], own.states[name], inputs, key=rng.stream(key, name), train=False
      )
    for path, what in record.items():
      found[f"{name}{path}" if path.startswith(".") else f"{name}/{path}"] = what
    return out

  features = apply("encoder", encoder, x)
  code, _ = bottleneck.apply(
    weights["bottleneck"], own.states["bottleneck"], features, key=key, train=False
  )
  found["bottleneck.out"] = code.value
  passed = spliced(code.value) if layer == "bottleneck.out" else code.value
  return found, apply("decoder", decoder, passed).astype(jnp.float32)


def _digest(weights: Any) -> str:
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
    array = np.ascontiguousarray(leaf)
    digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()
