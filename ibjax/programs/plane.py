"""The information plane: what is measured of a model's layers while it trains.

Everything is measured at fixed parameters, of the weights that evaluation uses, in evaluation mode
(no dropout): I(X;T) and I(T;Y) of any layer T by any estimators, mean and spread of the gradients
of mini-batches, norms of the weights, the numerical rank of the map from the input to a layer.

Source: Shwartz-Ziv and Tishby 2017 (arXiv:1703.00810), sections 3.2 and 3.3; Saxe et al. 2018 for
the gradients' signal to noise.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibjax.core import rng
from ibjax.core.errors import ConfigError, unknown
from ibjax.core.resolver import bind
from ibjax.core.types import Batch, DataSpec, TrainState
from ibjax.data.feed import to_float
from ibjax.data.sources import gaussian
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.warn import label_entropy
from ibjax.estimators.spectral.local_rank import local_rank
from ibjax.exact import gaussian_ib
from ibjax.models.capture import recording
from ibjax.programs.supervised import parts, supervised

Array = jax.Array


INPUTS = ("none", "values", "index")  # how an estimator gets X, see `ibjax.core.config.defaults`


class Examples(NamedTuple):
  """The inputs X and targets Y whose layers are looked at.

  Attributes:
    x: [n, d] float64, flattened as the source gives them.
    distinct: [n] int64, the number of each row's value among the distinct rows of x.
    y: [n] int64 labels, or [n, t] float64 targets.
  """

  x: np.ndarray
  distinct: np.ndarray
  y: np.ndarray


def examples(x: np.ndarray, y: np.ndarray) -> Examples:
  """Brings inputs and targets to the form that estimators take.

  Args:
    x: [n, ...], as a data source gives them.
    y: [n] integer labels or [n, t] targets.

  Returns:
    `Examples`.
  """
  flat = np.asarray(x).reshape(len(x), -1)
  index = np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)
  kind = np.int64 if y.ndim == 1 else np.float64
  return Examples(flat.astype(np.float64), index.astype(np.int64), np.asarray(y).astype(kind))


def limits(config: Mapping[str, Any], given: Examples) -> dict[str, np.ndarray]:
  """What bounds every point of the plane: entropies, and the exact curve where it is known.

  Args:
    config: the resolved config.
    given: the inputs and targets of the plane.

  Returns:
    "h_x_nats" (of the distinct inputs, each as likely as it is frequent) and "h_y_nats" of the
    labels; "curve" [2, m], rising I(X;T) and the largest I(T;Y) at it, in nats: the exact
    information curve of jointly Gaussian data, or, where the label is a function of the input,
    min(I(X;T), H(Y)).
  """
  found = {"h_x_nats": np.array(label_entropy(given.distinct))}
  name, _, argument = config["data"]["source"].partition(":")
  if given.y.ndim == 2:
    if name == "gaussian":
      task = gaussian.parse(argument)
      rates = np.linspace(0.0, 4.0 * task.information_nats(), 200)
      solved = gaussian_ib.gaussian_ib(*task.covariances())
      found["curve"] = np.stack([rates, gaussian_ib.curve(solved, rates)])
    return found
  label = label_entropy(given.y)
  found["h_y_nats"] = np.array(label)
  pairs = np.unique(np.stack([given.distinct, given.y], axis=1), axis=0)
  if len(pairs) == given.distinct.max() + 1:
    ends = [0.0, label, float(found["h_x_nats"])]
    found["curve"] = np.array([ends, [0.0, label, label]])
  return found


class Plane(NamedTuple):
  """What is measured, as functions; those of a state are pure and may be mapped over members.

  Attributes:
    layers: names of the layers whose information is estimated, layer_1 first.
    activations: `activations(state, batch, number, hyper) -> {layer: [n, d]}`.
    gradients: `gradients(state, batches, number, hyper) -> {name: scalar}`; batches have a
      leading axis. None when they are not asked for.
    ranks: `ranks(state, batch, number, hyper) -> {name: scalar}`; None when not asked for.
    estimates: `estimates(activations, examples) -> {name: float}` of one run's layers, on the
      host.
  """

  layers: tuple[str, ...]
  activations: Callable[..., dict[str, Array]]
  gradients: Callable[..., dict[str, Array]] | None
  ranks: Callable[..., dict[str, Array]] | None
  estimates: Callable[..., dict[str, float]]


def plane(config: Mapping[str, Any], spec: DataSpec) -> Plane:
  """Builds what `config.plane` asks for of a supervised run.

  Layers are named by what `ibjax.models.capture` records: "encoder/dense_1.in" is the input of
  that layer, which is the hidden state before it, "encoder/dense_1.out" its output before the
  activation, "decoder/..." the same. "bottleneck.out" is the code, "prediction" the decoder's
  output (probabilities of the classes). Patterns may hold * ? and [1-9].

  Args:
    config: the resolved config; all keys of its section "plane" are described in
      `ibjax.core.config.defaults`.
    spec: the data's description.

  Returns:
    A `Plane`.

  Raises:
    ConfigError: a pattern fits no layer (says which there are), an estimator's name, keyword or
      value is wrong, or an estimator cannot take what it would be given.

  Example:
    >>> measured = plane(config, spec)  # doctest: +SKIP
  """
  asked = config["plane"]
  _check(asked, config, spec)
  names = _layers(config, spec)
  chosen = _choose(asked["layers"], names, "plane.layers")
  estimators = {
    name: _estimator(f"config.plane.estimators.{name}", section, spec)
    for name, section in asked["estimators"].items()
  }
  ranked = _choose(asked["rank_layers"], names, "plane.rank_layers")

  def recorded(params: Any, states: Any, x: Array, step: Array, number: Array, hyper: Any):
    return _record(config, spec, params, states, x, step, number, hyper)

  def activations(state: TrainState, batch: Batch, number: Array, hyper: Any) -> dict[str, Array]:
    x = to_float(batch["x"], tuple(config["data"]["value_range"]))
    found = recorded(_weights(config, state), state.states, x, state.step, number, hyper)
    return {name: found[name].reshape(x.shape[0], -1).astype(jnp.float32) for name in chosen}

  def ranks(state: TrainState, batch: Batch, number: Array, hyper: Any) -> dict[str, Array]:
    inputs = to_float(batch["x"], tuple(config["data"]["value_range"]))
    inputs = inputs.reshape(inputs.shape[0], -1)
    params = _weights(config, state)
    values = {}
    for name in ranked:

      def layer(one: Array, name: str = name) -> Array:
        x = one.reshape(1, *spec.x_shape)
        found = recorded(params, state.states, x, state.step, number, hyper)
        return found[name].reshape(-1)

      for kind, thresholds in (
        ("relative", dict(relative=asked["rank_tolerance"])),
        ("absolute", dict(relative=0.0, absolute=asked["rank_tolerance"])),
      ):
        rank = local_rank(layer, **thresholds).value(inputs, None, None, None)
        values[f"rank/{name.removesuffix('.out')}/{kind}"] = rank.nats
    return values

  def estimates(layers: Mapping[str, np.ndarray], examples: Examples) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, estimate in estimators.items():
      for number, layer in enumerate(chosen, start=1):
        for what, value in estimate(layers[layer], examples).items():
          values[f"{name}/layer_{number}/{what}"] = value
    return values

  return Plane(
    chosen,
    activations,
    _gradients(config, spec) if asked["gradient_batches"] else None,
    ranks if asked["rank_examples"] else None,
    estimates,
  )


def due(config: Mapping[str, Any], total: int) -> tuple[int, ...]:
  """The steps at which the plane is measured.

  Args:
    config: the resolved config.
    total: the length of the run in steps.

  Returns:
    Steps in order: 0, `plane.points` steps spaced evenly in the logarithm from 1 to the last,
    and those of `plane.steps` that the run reaches. () when the plane is off.

  Example:
    >>> from ibjax.programs.plane import due
    >>> due({"plane": {"fn": "ibjax.programs.plane:plane", "points": 4, "steps": []}}, 1000)
    (0, 1, 10, 100, 1000)
  """
  asked = config.get("plane", {})
  if not asked.get("fn"):
    return ()
  spaced = np.geomspace(1, total, max(asked["points"], 1)).round()
  spaced = spaced if asked["points"] else spaced[:0]
  steps = {0, total, *map(int, spaced), *(step for step in asked["steps"] if step <= total)}
  return tuple(sorted(steps))


def summary(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
  """What a run's final row says of its plane.

  Args:
    names: names of the columns, as `Plane` gives them.
    values: [steps, columns], in the order of the steps.

  Returns:
    Every name with its last value. Of all but gradients also the first and the largest:
    "binned/layer_1/i_xt_first_nats" and "..._max_nats", or "rank/encoder/dense_1/relative_first"
    and "..._max" where the name ends in no unit; and of each I(X;T) "..._compression_nats", the
    largest less the last.
  """
  found = {}
  for name, column in zip(names, np.asarray(values, np.float64).T):
    found[name] = float(column[-1])
    if name.startswith("gradient/"):
      continue
    stem, unit = (name[:-5], "_nats") if name.endswith("_nats") else (name, "")
    found[f"{stem}_first{unit}"] = float(column[0])
    found[f"{stem}_max{unit}"] = float(np.max(column))
    if name.endswith("/i_xt_nats"):
      found[f"{stem}_compression_nats"] = float(np.max(column) - column[-1])
  return found


def _weights(config: Mapping[str, Any], state: TrainState) -> Any:
  return state.params if config["train"]["ema"] is None else state.ema


def _record(
  config: Mapping[str, Any],
  spec: DataSpec,
  params: Any,
  states: Any,
  x: Array,
  step: Array,
  number: Array,
  hyper: Mapping[str, Any],
) -> dict[str, Array]:
  """One forward pass in evaluation mode: name -> what was recorded."""
  encoder, bottleneck, decoder, _ = parts(config, spec, hyper, step)
  key = rng.stream(rng.root_key(hyper["seed"]), "plane", step, number)
  found: dict[str, Array] = {}

  def run(name: str, component: Any, inputs: Array) -> Array:
    with recording() as record:
      own = rng.stream(key, name)
      out, _ = component.apply(params[name], states[name], inputs, key=own, train=False)
    found.update({_joined(name, layer): value for layer, value in record.items()})
    return out

  features = run("encoder", encoder, x)
  code, _ = bottleneck.apply(
    params["bottleneck"], states["bottleneck"], features, key=key, train=False
  )
  found["bottleneck.out"] = code.value
  out = run("decoder", decoder, code.value).astype(jnp.float32)
  found["prediction"] = out if spec.target_dim else jax.nn.softmax(out)
  return found


def _joined(component: str, layer: str) -> str:
  return f"{component}{layer}" if layer.startswith(".") else f"{component}/{layer}"


def _layers(config: Mapping[str, Any], spec: DataSpec) -> list[str]:
  """The names of all that can be recorded, without computing anything."""
  from ibjax.programs.hyper import traced

  hyper = traced(config)
  program = supervised(config, None, spec)

  def names(hyper: Any) -> dict[str, Array]:
    state = program.init(hyper)
    x = jnp.zeros((1, *spec.x_shape), jnp.float32)
    return _record(config, spec, state.params, state.states, x, state.step, state.step, hyper)

  return list(jax.eval_shape(names, hyper))


def _check(asked: Mapping[str, Any], config: Mapping[str, Any], spec: DataSpec) -> None:
  for key in ("points", "examples", "gradient_batches", "rank_examples"):
    if asked[key] < 0:
      raise ConfigError(f"config.plane.{key}={asked[key]} must be at least 0.")
  if asked["rank_tolerance"] <= 0:
    raise ConfigError(f"config.plane.rank_tolerance={asked['rank_tolerance']} must be above 0.")
  if asked["gradient_batches"] == 1:
    raise ConfigError("config.plane.gradient_batches=1 has no spread; use 2 or more, or 0 for off.")
  most = spec.n_train // config["data"]["batch_size"]
  if asked["gradient_batches"] > most:
    raise ConfigError(
      f"config.plane.gradient_batches={asked['gradient_batches']}, but the training split holds "
      f"{most} batches of config.data.batch_size={config['data']['batch_size']}."
    )
  if config["train"]["remat"]:
    raise ConfigError("config.plane looks into the layers, which config.train.remat=True hides.")


def _estimator(
  where: str, section: Mapping[str, Any], spec: DataSpec
) -> Callable[[np.ndarray, Examples], dict[str, float]]:
  """What one estimator says of a layer: i_xt_nats and i_ty_nats, or nats, or dim."""
  keywords: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
  of, most = keywords.pop("of", ("x", "y")), int(keywords.pop("examples", 0))
  inputs = keywords.pop("inputs", "")
  estimator = bind(keywords)
  if not isinstance(estimator, Estimator):
    raise ConfigError(f"{where}.fn='{section.get('fn')}' makes no estimator.")
  if not set(of) <= {"x", "y"} or not of:
    raise ConfigError(f"{where}.of={of!r}, expected ('x',), ('y',) or ('x', 'y').")
  if most < 0:
    raise ConfigError(f"{where}.examples={most} must be at least 0.")
  if inputs and inputs not in INPUTS:
    raise ConfigError(unknown(f"value of {where}.inputs", inputs, INPUTS))
  key = jax.random.key(0)

  def value(first: Any, second: Any) -> Any:
    return estimator.value(first, second, None, key).nats

  if estimator.jittable:
    value = jax.jit(value)
  kind, optional = estimator.y.removesuffix("?"), estimator.y.endswith("?")
  if not inputs:
    # A deterministic layer with its noise in the estimator needs no X; and where labels will do,
    # the number of the input says all of it, which is no use to a measure that needs groups.
    grouped = kind == "real" or estimator.quantity == "dependence"
    inputs = "none" if optional else "values" if grouped else "index"
  if estimator.quantity in ("entropy", "dimension"):
    unit = "nats" if estimator.quantity == "entropy" else "dim"
    return lambda layer, given: {unit: float(value(_some(layer, most), None))}
  if "y" in of and kind not in ("any", "real" if spec.target_dim else "labels"):
    raise ConfigError(
      f"{where}: {estimator.name} takes y as {estimator.y}, and the data have "
      f"{'targets' if spec.target_dim else 'labels'}. Use another estimator, or of=('x',)."
    )

  def estimate(layer: np.ndarray, given: Examples) -> dict[str, float]:
    layer, found = _some(layer, most), {}
    if "x" in of:
      x = {"none": None, "values": given.x, "index": given.distinct}[inputs]
      found["i_xt_nats"] = float(value(layer, None if x is None else _some(x, most)))
    if "y" in of:
      found["i_ty_nats"] = float(value(layer, _some(given.y, most)))
    return found

  return estimate


def _some(rows: np.ndarray, most: int) -> np.ndarray:
  """At most so many rows, spread evenly over all; floats as float64."""
  if most and most < len(rows):
    rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
  return rows.astype(np.float64) if rows.dtype.kind == "f" else rows


def _choose(patterns: Sequence[str], names: Sequence[str], key: str) -> tuple[str, ...]:
  found: dict[str, None] = {}
  for pattern in patterns:
    fitting = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not fitting:
      raise ConfigError(unknown(f"layer in config.{key}", pattern, names))
    found.update(dict.fromkeys(fitting))
  return tuple(found)


def kept_gradient(learning_rate: Any = 1.0) -> optax.GradientTransformation:
  """An optimiser that changes nothing and whose state is the last gradient, unchanged.

  Args:
    learning_rate: not used.

  Returns:
    An optax transformation.
  """
  del learning_rate
  return optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda updates, state, params=None: (jax.tree.map(jnp.zeros_like, updates), updates),
  )


def _gradients(config: Mapping[str, Any], spec: DataSpec) -> Callable[..., dict[str, Array]]:
  keeping = {
    **config,
    "optimizer": {"fn": "ibjax.programs.plane:kept_gradient", "learning_rate": 1.0},
    "train": {**config["train"], "clip_norm": None},
  }
  program = supervised(keeping, None, spec)

  def gradients(state: TrainState, batches: Batch, number: Array, hyper: Any) -> dict[str, Array]:
    del number
    start = state._replace(opt_state=jax.tree.map(jnp.zeros_like, state.params))

    def body(carry, batch):
      count, mean, square = carry
      gradient = program.step(start, {**batch, "mask": jnp.ones(len(batch["y"]), bool)}, hyper)
      count, new = count + 1.0, gradient.opt_state
      away = jax.tree.map(jnp.subtract, new, mean)
      mean = jax.tree.map(lambda m, d: m + d / count, mean, away)
      square = jax.tree.map(lambda s, d, g, m: s + d * (g - m), square, away, new, mean)
      return (count, mean, square), None

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    first = {name: batches[name] for name in ("x", "y")}
    (count, mean, square), _ = jax.lax.scan(body, (jnp.float32(0.0), zeros, zeros), first)
    spread = jax.tree.map(lambda s: jnp.sqrt(s / (count - 1.0)), square)
    values = {}
    leaves = zip(*(jax.tree_util.tree_leaves_with_path(t) for t in (mean, spread, state.params)))
    for (path, m), (_, s), (_, weights) in leaves:
      if weights.ndim < 2:
        continue  # a layer's weights stand for it, as in the papers
      name = "/".join(part.key for part in path[:-1])
      signal, noise = jnp.linalg.norm(m.ravel()), jnp.linalg.norm(s.ravel())
      values[f"gradient/{name}/mean_norm"] = signal
      values[f"gradient/{name}/std_norm"] = noise
      values[f"gradient/{name}/snr"] = signal / jnp.maximum(noise, 1e-30)
      values[f"gradient/{name}/weight_norm"] = jnp.linalg.norm(weights.ravel())
    return values

  return gradients
