"""One model of a run: its parts, a batch on its way through them, and what the objective says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import bind
from ibjax.core.types import Batch, Bottleneck, DataSpec, Model, Objective, Outputs, Terms, Tree
from ibjax.data.feed import to_float
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.beta import is_scheduled, scheduled_beta
from ibjax.programs.views import make_views

Array = jax.Array


def parts(
  config: Mapping[str, Any], spec: DataSpec, hyper: Mapping[str, Any], step: Any = 0
) -> tuple[Model, Bottleneck, Model, Objective]:
  """Builds encoder, bottleneck, decoder and objective from the config's sections.

  The bottleneck decides how wide the encoder's output is, the data how wide the decoder's.

  Args:
    config: the resolved config (plain nested dictionaries).
    spec: the data's description.
    hyper: traced hyperparameters; {} takes the config's own numbers.
    step: the number of updates done, for the schedule of beta.

  Returns:
    (encoder, bottleneck, decoder, objective).

  Raises:
    ConfigError: a section sets the width or the dtype, or a factory's name, keyword, type or range
      is wrong.
  """
  dtype = config["train"]["compute_dtype"]
  bottleneck = bind(hyper_lib.section(config, "bottleneck", hyper))
  encoder = hyper_lib.section(config, "encoder", hyper)
  decoder = hyper_lib.section(config, "decoder", hyper)
  for name, section in (("encoder", encoder), ("decoder", decoder)):
    if "out" in section or "dtype" in section:
      raise ConfigError(
        f"config.{name} sets 'out' or 'dtype'; the width follows from the bottleneck and the "
        "data, the type from config.train.compute_dtype. Remove them."
      )
  objective = hyper_lib.section(config, "objective", hyper)
  if is_scheduled(config):
    objective["beta"] = scheduled_beta(config, spec, hyper, step)
  return (
    bind(encoder, out=bottleneck.features, dtype=dtype),
    bottleneck,
    bind(decoder, out=spec.target_dim or spec.num_classes, dtype=dtype),
    bind(objective),
  )


def forward(
  config: Mapping[str, Any],
  spec: DataSpec,
  params: Tree,
  states: Tree,
  x: Array,
  key: Array,
  step: Any,
  hyper: Mapping[str, Any],
  *,
  train: bool,
  samples: int,
  views: int = 0,
  mask: Array | None = None,
) -> tuple[Objective, Outputs, Tree, Array]:
  """Sends a batch through encoder, bottleneck and decoder.

  Args:
    config: the resolved config.
    spec: the data's description.
    params: parameters by component.
    states: moving statistics by component.
    x: [n, ...] inputs as they are stored.
    key: of the noise.
    step: the number of updates done.
    hyper: traced hyperparameters.
    train: whether noise and statistics are those of training.
    samples: codes drawn per example.
    views: augmented views per example; 0 takes the inputs as they are.
    mask: [n] bool, True where the example counts; for a bottleneck that `masks`.

  Returns:
    (objective, outputs [samples * views * n, ...], new states, the inputs as the encoder saw them).
  """
  encoder, bottleneck, decoder, objective = parts(config, spec, hyper, step)
  x = to_float(x, tuple(config["data"]["value_range"]))
  if views:
    x = make_views(config, hyper, x, key)
  states = dict(states)

  def encode(params, state, x):
    return encoder.apply(params, state, x, key=rng.stream(key, "encoder"), train=train)

  def decode(params, state, z):
    return decoder.apply(params, state, z, key=rng.stream(key, "decoder"), train=train)

  if config["train"]["remat"]:
    encode, decode = jax.checkpoint(encode), jax.checkpoint(decode)
  # All samples of all examples are one longer batch: [samples * n, ...], sample-major. They part
  # as late as they can: before the encoder only if its weights are drawn anew for every row.
  if encoder.random:
    x = _tile(x, samples)
  features, states["encoder"] = encode(params["encoder"], states["encoder"], x)
  if not encoder.random:
    x, features = _tile(x, samples), _tile(features, samples)
  given = {}
  if bottleneck.masks and mask is not None:
    given["mask"] = _tile(mask, samples * max(views, 1))
  code, states["bottleneck"] = bottleneck.apply(
    params["bottleneck"], states["bottleneck"], features, key=key, train=train, **given
  )
  read = jax.lax.stop_gradient(code.value) if config["train"].get("probe") else code.value
  prediction, states["decoder"] = decode(params["decoder"], states["decoder"], read)
  outputs = Outputs(code, prediction.astype(jnp.float32), _parameter_kl(states), max(views, 1))
  return objective, outputs, states, x


def judge(
  config: Mapping[str, Any],
  spec: DataSpec,
  params: Tree,
  states: Tree,
  batch: Batch,
  key: Array,
  step: Any,
  hyper: Mapping[str, Any],
  *,
  train: bool,
  samples: int,
  views: int = 0,
) -> tuple[Terms, Array, Tree, Outputs]:
  """Sends a batch through the model and asks the objective for its terms.

  Args:
    config: the resolved config.
    spec: the data's description.
    params: parameters by component.
    states: moving statistics by component.
    batch: {"x", "y", "mask"} of n examples.
    key: of the noise.
    step: the number of updates done.
    hyper: traced hyperparameters.
    train: whether noise and statistics are those of training.
    samples: codes drawn per example.
    views: augmented views per example; 0 takes the inputs as they are.

  Returns:
    (terms of the copies of all examples, their mask [copies * n], new states, outputs). Of a
    coupled objective in evaluation, the terms are of the first code of each example.
  """
  objective, outputs, states, x = forward(
    config,
    spec,
    params,
    states,
    batch["x"],
    key,
    step,
    hyper,
    train=train,
    samples=samples,
    views=views,
    mask=batch["mask"],
  )
  copies, judged = samples * max(views, 1), outputs
  if objective.couples and not train and samples > 1:
    # All pairs of all codes would be samples^2 as many, most of them of one input with itself.
    copies, n = 1, batch["y"].shape[0]
    judged, x = _first(outputs, n), x[:n]
  tiled = {name: jnp.concatenate([batch[name]] * copies) for name in ("y", "mask")}
  tiled["x"] = x
  terms = objective.loss(
    params["objective"], states["objective"], judged, tiled, rng.stream(key, "objective"), step
  )
  return terms, tiled["mask"], {**states, "objective": terms.state}, outputs


def _first(outputs: Outputs, n: int) -> Outputs:
  """The first code of each example."""
  rows = outputs.code.value.shape[0]

  def cut(leaf: Array) -> Array:
    return leaf[:n] if leaf.shape[:1] == (rows,) else leaf

  code = jax.tree.map(cut, outputs.code)
  return outputs._replace(code=code, prediction=outputs.prediction[:n])


def _tile(x: Array, samples: int) -> Array:
  return jnp.tile(x, (samples, *[1] * (x.ndim - 1))) if samples > 1 else x


def _parameter_kl(states: Mapping[str, Any]) -> Array | None:
  found = [states[name]["kl_nats"] for name in ("encoder", "decoder") if "kl_nats" in states[name]]
  return sum(found[1:], found[0]) if found else None
