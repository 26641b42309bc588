"""Supervised training through a bottleneck: encoder, channel, decoder, objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.types import (
  Batch,
  DataSpec,
  MetricState,
  ObjectiveSpec,
  Program,
  TrainState,
)
from ibjax.data.feed import to_float
from ibjax.evaluators.classification import classification, mean_log_probs
from ibjax.evaluators.rates import sandwich
from ibjax.evaluators.regression import regression
from ibjax.evaluators.robustness import check_epsilons, fast_gradient_sign, fgsm_name
from ibjax.metrics.mean import mean_state
from ibjax.programs.beta import is_scheduled, scheduled_beta
from ibjax.programs.frame import combine
from ibjax.programs.network import forward, judge, parts
from ibjax.programs.settle import settling
from ibjax.programs.update import init_state, make_step
from ibjax.programs.views import count_views

Array = jax.Array

# Examples of an evaluation batch between which all pairs are looked at.
MOST_PAIRED = 2000


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
  _, bottleneck, _, objective = parts(config, spec, {})
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

  def run(params, states, batch: Batch, *given, **options):
    terms, mask, states, outputs = judge(config, spec, params, states, batch, *given, **options)
    losses, metrics = combine(terms, mask)
    for part in ("encoder", "decoder"):
      for name, value in states[part].get("metrics", {}).items():
        metrics[name] = mean_state(name, value, mask)
    for name, value in states["bottleneck"].get("metrics", {}).items():
      # Of a batch; one that is mostly padding weighs by the rows that it has.
      metrics[name] = mean_state(name, jnp.broadcast_to(value, mask.shape), mask)
    logits = outputs.prediction.reshape(-1, *batch["mask"].shape, outputs.prediction.shape[-1])
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

  def look(state: TrainState, x: Array, key: Array, hyper):
    samples = config["eval"]["samples"]
    given = (weights(state), state.states, x, key, state.step, hyper)
    _, outputs, _, _ = forward(config, spec, *given, train=False, samples=samples)
    return outputs, outputs.prediction.reshape(samples, -1, outputs.prediction.shape[-1])

  def evaluate(state: TrainState, batch: Batch, number: Array, hyper) -> MetricState:
    key = rng.stream(rng.root_key(hyper["seed"]), "eval", number)
    samples = config["eval"]["samples"]
    given = (weights(state), state.states, batch, key, state.step, hyper)
    if views > 1:  # what compares views is of views; the scores are of the input as it is
      _, metrics, *_ = run(*given, train=False, samples=1, views=views)
      outputs, logits = look(state, batch["x"], key, hyper)
    else:
      _, metrics, _, outputs, logits = run(*given, train=False, samples=samples)
    for name, values in scores(weights(state), logits, batch["y"]).items():
      metrics[name] = _mean(values, batch["mask"])
    some = batch["mask"][:MOST_PAIRED]
    for name, values in sandwich(outputs.code, some).items():
      metrics[name] = _mean(values, some)
    return metrics

  def predict(state: TrainState, batch: Batch, number: Array, hyper) -> dict[str, Array]:
    key = rng.stream(rng.root_key(hyper["seed"]), "eval", number)
    samples = config["eval"]["samples"]

    def score(x):
      # The same key, so the same noise: the attack meets the codes it was made for.
      given = (weights(state), state.states, x, key, state.step, hyper)
      _, outputs, _, _ = forward(config, spec, *given, train=False, samples=samples)
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

  def inspect(state: TrainState, x: Array, number: Array, hyper) -> dict[str, Array]:
    key = rng.stream(rng.root_key(hyper["seed"]), "assess", number)
    outputs, logits = look(state, x, key, hyper)
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
    key = rng.stream(rng.root_key(hyper["seed"]), "assess", number)

    def loss(x):
      _, logits = look(state, x, key, hyper)
      if spec.target_dim:
        return jnp.sum(jnp.square(jnp.mean(logits, axis=0) - y))
      return -jnp.sum(_at_label(mean_log_probs(logits), y))

    return jax.grad(loss)(x)

  def decode(state: TrainState, code: Array, number: Array, hyper) -> Array:
    key = rng.stream(rng.root_key(hyper["seed"]), "assess", number)
    _, _, decoder, _ = parts(config, spec, hyper, state.step)
    params, kept = weights(state)["decoder"], state.states["decoder"]
    out, _ = decoder.apply(params, kept, code, key=rng.stream(key, "decoder"), train=False)
    out = out.astype(jnp.float32)
    return out if spec.target_dim else jax.nn.log_softmax(out)

  step = make_step(loss, config, spec)
  if bottleneck.settle is not None:
    step = settling(step, config, spec)
  return Program(init, step, evaluate, predict, inspect, gradient, decode)


def _at_label(log_probs: Array, labels: Array) -> Array:
  return jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]


def _mean(values: Array, mask: Array):
  return jnp.sum(jnp.where(mask, values, 0.0), dtype=jnp.float32), jnp.sum(mask, dtype=jnp.float32)
