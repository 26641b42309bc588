"""Next-token prediction: a decoder over tokens, its layers through bottlenecks where asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.types import (
  Batch,
  DataSpec,
  MetricState,
  ObjectiveSpec,
  Outputs,
  Program,
  TrainState,
)
from ibjax.evaluators.classification import classification
from ibjax.metrics.mean import mean_state
from ibjax.programs.frame import combine
from ibjax.programs.interventions import functions
from ibjax.programs.settle_sites import settling_sites
from ibjax.programs.tokens import init_parts, joined, parts, read, site_shapes
from ibjax.programs.update import init_state, make_step

Array = jax.Array


def language(config: Mapping[str, Any], mesh: Any, spec: DataSpec) -> Program:
  """Builds the program of a language model from a resolved config.

  Formula: every token of a window is an example of its own, with what the objective makes of its
  logits: cross_entropy gives -log p(y_t | x_1 ... x_t) nats per token. The batch's x and y are
  [n, t] tokens, y those that follow; a target below 0, and every token of a masked window, does
  not count. Reported beside the objective's terms: nll_nats, err_frac and bits_per_token (of
  characters: bits per character). A source says how often each token of a split is a target:
  `text` has those of its test and validation splits once, and those of its training split more
  often where windows overlap (stride < window).

  `config.sites` are patterns of layers, e.g. ("block_*/mlp", "block_*/attention/heads"), whose
  outputs go through a bottleneck of their own, made by `config.bottleneck` with the width of the
  layer. The objective sees the codes of all sites as one, what they give per token summed; metrics
  of the bottlenecks are means over the sites.

  Use it with a source of tokens: text, finite_state.

  Args:
    config: the resolved config, see `ibjax.core.config.language`.
    mesh: the device mesh (unused: the batch scope is global, and sharding is the trainer's).
    spec: the data's description.

  Returns:
    A `Program` of pure functions. `predict` gives "token_nll_nats" [n, t], 0 where a token does
    not count; `forward` gives "logits" [n, t, c].

  Raises:
    ConfigError: data that are no tokens, what a language model has not (views, several codes of
      an input, validation windows cut out between those of training), or a factory's name,
      keyword, type or range is wrong.

  Example:
    >>> program = language(config, None, spec)  # doctest: +SKIP
  """
  del mesh
  _check(config, spec)
  shapes = site_shapes(config, spec)
  objective_spec = ObjectiveSpec(
    jnp.asarray(spec.label_probs, jnp.float32),
    max(1, sum(math.prod(shape[2:]) for shape in shapes.values())),
    n_train=spec.n_train,
  )
  # With Python numbers, so that ranges are checked before tracing.
  checked = parts(config, spec, {}, shapes)
  jax.eval_shape(lambda: checked.objective.init(rng.root_key(0), objective_spec))

  def run(params, states, batch: Batch, key, step, hyper, *, train):
    built = parts(config, spec, hyper, shapes)

    def through(params, states, tokens):
      return read(built, params, states, tokens, key, train=train)

    if config["train"]["remat"]:
      through = jax.checkpoint(through)
    logits, codes, states = through(params, states, batch["x"])
    mask = ((batch["y"] >= 0) & batch["mask"][:, None]).reshape(-1)
    y = jnp.maximum(batch["y"], 0).reshape(-1)
    code = joined(codes, y.shape[0])
    outputs = Outputs(code, logits.reshape(-1, logits.shape[-1]))
    terms = built.objective.loss(
      params["objective"],
      states["objective"],
      outputs,
      {"x": batch["x"].reshape(-1), "y": y, "mask": mask},
      rng.stream(key, "objective"),
      step,
    )
    losses, metrics = combine(terms, mask)
    scores = classification(outputs.prediction[None], y)
    scores["bits_per_token"] = scores["nll_nats"] / math.log(2.0)
    if code.bits is not None:
      scores["code_bits"] = code.bits
    for name, values in scores.items():
      metrics[name] = mean_state(name, values, mask)
    metrics.update(_site_metrics(states["bottleneck"]))
    nll = jnp.where(mask, scores["nll_nats"], 0.0).reshape(batch["y"].shape)
    return losses, metrics, {**states, "objective": terms.state}, logits, nll

  def loss(params, states, batch, key, step, hyper):
    losses, metrics, states, *_ = run(params, states, batch, key, step, hyper, train=True)
    return losses, (states, metrics)

  def init(hyper) -> TrainState:
    built = parts(config, spec, hyper, shapes)
    key = rng.stream(rng.root_key(hyper["seed"]), "init")
    params, states = init_parts(built, spec, key)
    params["objective"], states["objective"] = built.objective.init(
      rng.stream(key, "objective"), objective_spec
    )
    tokens = jnp.zeros((config["data"]["batch_size"], *spec.x_shape), jnp.int32)
    batch = {"x": tokens, "y": tokens, "mask": jnp.ones(tokens.shape[0], bool)}
    return init_state(params, states, loss, batch, config, spec, hyper)

  def weights(state: TrainState):
    return state.params if config["train"]["ema"] is None else state.ema

  def evaluated(state: TrainState, batch: Batch, number: Array, hyper):
    key = rng.stream(rng.root_key(hyper["seed"]), "eval", number)
    return run(weights(state), state.states, batch, key, state.step, hyper, train=False)

  def evaluate(state: TrainState, batch: Batch, number: Array, hyper) -> MetricState:
    return evaluated(state, batch, number, hyper)[1]

  def predict(state: TrainState, batch: Batch, number: Array, hyper) -> dict[str, Array]:
    whole = {**batch, "mask": jnp.ones(batch["y"].shape[0], bool)}
    return {"token_nll_nats": evaluated(state, whole, number, hyper)[4]}

  def forward(state: TrainState, x: Array, number: Array, hyper) -> dict[str, Array]:
    key = rng.stream(rng.root_key(hyper["seed"]), "assess", number)
    built = parts(config, spec, hyper, shapes)
    logits, _, _ = read(built, weights(state), state.states, x, key, train=False)
    return {"logits": logits}

  step = make_step(loss, config, spec)
  if any(bottleneck.settle is not None for bottleneck in checked.sites.values()):
    step = settling_sites(step, lambda hyper: parts(config, spec, hyper, shapes))
  more = functions(config, spec, shapes)
  return Program(init, step, evaluate, predict, forward, functions=more)


def _site_metrics(states: Mapping[str, Any]) -> MetricState:
  """The metrics of the bottlenecks at all sites, each a mean over those that have it."""
  found: dict[str, list[Array]] = {}
  for state in states.values():
    for name, value in state.get("metrics", {}).items():
      found.setdefault(name, []).append(value)
  return {
    name: (sum(values[1:], values[0]), jnp.float32(len(values))) for name, values in found.items()
  }


def _check(config: Mapping[str, Any], spec: DataSpec) -> None:
  source = config["data"]["source"]
  if len(spec.x_shape) != 1 or np.dtype(spec.x_dtype) != np.int32 or not spec.num_classes:
    raise ConfigError(
      f"a language model reads windows of tokens (int32 [t]), and '{source}' has "
      f"{np.dtype(spec.x_dtype)} {list(spec.x_shape)}. Use a source of tokens: text, finite_state."
    )
  if config["data"]["validation"]:
    raise ConfigError(
      f"config.data.validation={config['data']['validation']} would cut windows out between those "
      "of training, which share tokens with them. Use the source's own: "
      f"'{source}' with validation=0.1 among its keys, where it has one."
    )
  if config.get("views", {}).get("fn"):
    raise ConfigError("a language model has no views of its tokens. Set config.views.fn=''.")
  for section in ("train", "eval"):
    if config[section]["samples"] != 1:
      raise ConfigError(
        f"a language model draws one code of each token; set config.{section}.samples=1."
      )
