"""Supervised training through a bottleneck: encoder, channel, decoder, objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import bind
from ibjax.core.types import (
  Batch,
  Bottleneck,
  DataSpec,
  MetricState,
  Model,
  Objective,
  ObjectiveSpec,
  Outputs,
  Program,
  TrainState,
)
from ibjax.data.feed import to_float
from ibjax.evaluators.classification import classification, mean_log_probs
from ibjax.evaluators.rates import sandwich
from ibjax.evaluators.regression import regression
from ibjax.evaluators.robustness import check_epsilons, fast_gradient_sign, fgsm_name
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.beta import is_scheduled, scheduled_beta
from ibjax.programs.frame import combine
from ibjax.programs.update import init_state, make_step
from ibjax.programs.views import count_views, make_views

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


def supervised(config: Mapping[str, Any], mesh: Any, spec: DataSpec) -> Program:
  """Builds the supervised program of a resolved config.

  Args:
    config: the resolved config.
    mesh: the device mesh (unused: the batch scope is global, and sharding is the trainer's).
    spec: the data's description.

  Returns:
    A `Program` of pure functions.

  Raises:
    ConfigError: a factory's name, keyword, type or range is wrong.

  Example:
    >>> program = supervised(config, None, spec)  # doctest: +SKIP
  """
  del mesh
  # With Python numbers, so that ranges are checked before tracing.
  _, _, _, objective = parts(config, spec, {})
  objective_spec = ObjectiveSpec(
    jnp.asarray(spec.label_probs, jnp.float32),
    config["bottleneck"].get("dim", 1),
    spec.target_dim,
    spec.target_entropy_nats,
    spec.n_train,
  )
  jax.eval_shape(lambda: objective.init(rng.root_key(0), objective_spec))
  epsilons = check_epsilons(config["eval"].get("fgsm", ()), spec.x_dtype)
  views = count_views(config)
  if objective.views > max(views, 1):
    raise ConfigError(
      f"{config['objective']['fn']} compares {objective.views} views of each example, and "
      f"config.views gives {max(views, 1)}. Set config.views.count={objective.views} and "
      "config.views.fn to one of ibjax.views (`ibjax list views`)."
    )

  def forward(params, states, x, key, step, hyper, *, train, samples, views=0):
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
    code, states["bottleneck"] = bottleneck.apply(
      params["bottleneck"], states["bottleneck"], features, key=key, train=train
    )
    read = jax.lax.stop_gradient(code.value) if config["train"].get("probe") else code.value
    prediction, states["decoder"] = decode(params["decoder"], states["decoder"], read)
    outputs = Outputs(code, prediction.astype(jnp.float32), _parameter_kl(states), max(views, 1))
    return objective, outputs, states, x

  def run(params, states, batch: Batch, key, step, hyper, *, train, samples, views=0):
    objective, outputs, states, x = forward(
      params, states, batch["x"], key, step, hyper, train=train, samples=samples, views=views
    )
    copies = samples * max(views, 1)
    tiled = {name: jnp.concatenate([batch[name]] * copies) for name in ("y", "mask")}
    tiled["x"] = x
    terms = objective.loss(
      params["objective"], states["objective"], outputs, tiled, rng.stream(key, "objective"), step
    )
    losses, metrics = combine(terms, tiled["mask"])
    logits = outputs.prediction.reshape(copies, -1, outputs.prediction.shape[-1])
    states["objective"] = terms.state
    return losses, metrics, states, outputs, logits

  def scores(params, outputs, y):
    if spec.target_dim:
      return regression(outputs, y, params["objective"].get("covariance"))
    return classification(outputs, y)

  def loss(params, states, batch, key, step, hyper):
    losses, metrics, states, _, logits = run(
      params,
      states,
      batch,
      key,
      step,
      hyper,
      train=True,
      samples=config["train"]["samples"],
      views=views,
    )
    name = "mse" if spec.target_dim else "err_frac"
    metrics[name] = _mean(scores(params, logits, batch["y"])[name], batch["mask"])
    if is_scheduled(config):
      metrics["beta"] = (scheduled_beta(config, spec, hyper, step), jnp.float32(1.0))
    return losses, (states, metrics)

  def init(hyper) -> TrainState:
    encoder, bottleneck, decoder, objective = parts(config, spec, hyper)
    key = rng.stream(rng.root_key(hyper["seed"]), "init")
    x = jnp.zeros((config["data"]["batch_size"], *spec.x_shape), spec.x_dtype)
    y = jnp.zeros(x.shape[0], jnp.int32)
    if spec.target_dim:
      y = jnp.zeros((x.shape[0], spec.target_dim))
    params, states = {}, {}

    def start(name, component, *inputs):
      params[name], states[name] = component.init(rng.stream(key, name), *inputs)

    start("encoder", encoder, to_float(x, tuple(config["data"]["value_range"])))
    start("bottleneck", bottleneck)
    features = jnp.zeros((x.shape[0], bottleneck.features))
    code, _ = bottleneck.apply(
      params["bottleneck"], states["bottleneck"], features, key=key, train=False
    )
    start("decoder", decoder, code.value)
    start("objective", objective, objective_spec._replace(code_dim=code.value.shape[-1]))
    batch = {"x": x, "y": y, "mask": jnp.ones(x.shape[0], bool)}
    return init_state(params, states, loss, batch, config, spec, hyper)

  def weights(state: TrainState):
    return state.params if config["train"]["ema"] is None else state.ema

  def evaluate(state: TrainState, batch: Batch, number: Array, hyper) -> MetricState:
    key = rng.stream(rng.root_key(hyper["seed"]), "eval", number)
    samples = config["eval"]["samples"]
    given = (weights(state), state.states, batch, key, state.step, hyper)
    _, metrics, _, outputs, logits = run(*given, train=False, samples=samples)
    if views > 1:  # what compares views is of views; the scores are of the input as it is
      _, metrics, *_ = run(*given, train=False, samples=1, views=views)
    for name, values in scores(weights(state), logits, batch["y"]).items():
      metrics[name] = _mean(values, batch["mask"])
    for name, values in sandwich(outputs.code, batch["mask"]).items():
      metrics[name] = _mean(values, batch["mask"])
    return metrics

  def predict(state: TrainState, batch: Batch, number: Array, hyper) -> dict[str, Array]:
    key = rng.stream(rng.root_key(hyper["seed"]), "eval", number)
    samples = config["eval"]["samples"]

    def score(x):
      # The same key, so the same noise: the attack meets the codes it was made for.
      _, outputs, _, _ = forward(
        weights(state), state.states, x, key, state.step, hyper, train=False, samples=samples
      )
      return outputs, outputs.prediction.reshape(samples, -1, outputs.prediction.shape[-1])

    outputs, logits = score(batch["x"])
    if spec.target_dim:
      values = {"target": batch["y"], "prediction": jnp.mean(logits, axis=0)}
    else:
      log_probs = mean_log_probs(logits)
      values = {
        "label": batch["y"],
        "prediction": jnp.argmax(log_probs, axis=-1).astype(jnp.int32),
        "confidence": jnp.exp(jnp.max(log_probs, axis=-1)),
        "label_prob": jnp.exp(_at_label(log_probs, batch["y"])),
        "collision_prob": jnp.sum(jnp.exp(2.0 * log_probs), axis=-1),
      }
    low, high = config["data"]["value_range"]
    for epsilon in epsilons:
      attacked = fast_gradient_sign(
        lambda x: -_at_label(mean_log_probs(score(x)[1]), batch["y"]),
        to_float(batch["x"], (low, high)),
        epsilon * (high - low),
        low,
        high,
      )
      wrong = jnp.argmax(mean_log_probs(score(attacked)[1]), axis=-1) != batch["y"]
      values[f"{fgsm_name(epsilon)}_wrong"] = wrong
    n, code = batch["y"].shape[0], outputs.code
    if code.value.shape[-1] == 2:
      values["latent"] = code.aux.get("mean", code.value)[:n]
    return values

  def look(state: TrainState, x: Array, number: Array, hyper):
    key = rng.stream(rng.root_key(hyper["seed"]), "assess", number)
    samples = config["eval"]["samples"]
    _, outputs, _, _ = forward(
      weights(state), state.states, x, key, state.step, hyper, train=False, samples=samples
    )
    return outputs, outputs.prediction.reshape(samples, -1, outputs.prediction.shape[-1])

  def inspect(state: TrainState, x: Array, number: Array, hyper) -> dict[str, Array]:
    outputs, logits = look(state, x, number, hyper)
    code, n = outputs.code, x.shape[0]
    found = {**code.aux, "code": code.aux.get("mean", code.value)}
    if code.rate is not None:
      found["rate"] = code.rate
    rows = {
      name: value[:n] for name, value in found.items() if value.shape[:1] == code.value.shape[:1]
    }
    mean = jnp.mean(logits, axis=0)
    if spec.target_dim:
      return {**rows, "prediction": mean}
    return {**rows, "prediction": mean_log_probs(logits), "logits": mean}

  def gradient(state: TrainState, x: Array, y: Array, number: Array, hyper) -> Array:
    def loss(x):
      _, logits = look(state, x, number, hyper)
      if spec.target_dim:
        return jnp.sum(jnp.square(jnp.mean(logits, axis=0) - y))
      return -jnp.sum(_at_label(mean_log_probs(logits), y))

    return jax.grad(loss)(x)

  return Program(init, make_step(loss, config, spec), evaluate, predict, inspect, gradient)


def _tile(x: Array, samples: int) -> Array:
  return jnp.tile(x, (samples, *[1] * (x.ndim - 1))) if samples > 1 else x


def _parameter_kl(states: Mapping[str, Any]) -> Array | None:
  found = [states[name]["kl_nats"] for name in ("encoder", "decoder") if "kl_nats" in states[name]]
  return sum(found[1:], found[0]) if found else None


def _at_label(log_probs: Array, labels: Array) -> Array:
  return jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]


def _mean(values: Array, mask: Array):
  return jnp.sum(jnp.where(mask, values, 0.0), dtype=jnp.float32), jnp.sum(mask, dtype=jnp.float32)
