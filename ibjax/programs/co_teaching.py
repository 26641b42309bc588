"""Co-teaching: two networks that choose for each other which examples of a batch to learn from.

Source: Han et al. 2018, "Co-teaching: robust training of deep neural networks with extremely noisy
labels" (arXiv:1804.06872).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import ConfigError
from ibjax.core.types import DataSpec, Program, Terms, TrainState, Tree
from ibjax.evaluators.classification import classification
from ibjax.metrics.mean import mean_state
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.frame import combine
from ibjax.programs.network import judge, parts
from ibjax.programs.supervised import supervised
from ibjax.programs.update import init_state, make_step
from ibjax.programs.views import count_views

Array = jnp.ndarray

FIRST, SECOND = "first", "second"
_OTHER_SEED = 0x2C07EAC4  # the second network starts from another seed, made of the run's own


def co_teaching(config: Mapping[str, Any], mesh: Any, spec: DataSpec) -> Program:
  """Builds the program of two networks of one config, each choosing the other's examples.

  Formula: at update t, R(t) = tau min(t / T, 1) of the batch is forgotten: each network takes the
  round((1 - R) n) examples whose distortion is smallest under the other one, and makes the
  objective's step on these alone. tau is config.co_teaching.forget_rate, T the duration
  config.co_teaching.gradual.

  Use it for labels of which about a share tau is wrong: early on, a network fits right labels
  before wrong ones, so that what it finds hard is more often wrong, and two networks pass fewer of
  their own mistakes on to themselves than one.

  Both networks see the same batches and draw the same noise (so the same number of channels of
  Nested Dropout, as in Chen et al. 2021); they differ in their initial parameters. They share one
  optimiser: methods that are elementwise, as Adam, treat them apart, while a clipped gradient norm
  is of both. R grows with every update, in the paper with every epoch. With several codes or views
  per example, an example's distortion is their mean. What is evaluated, predicted and assessed is
  the first network; its training metrics are of the examples it was taught, err_frac is of all.

  Args:
    config: the resolved config, with a section co_teaching: {"forget_rate": 0.2, "gradual":
      "10 epochs"}. The objective must have a loss "distortion_nats" with a value per example.
    mesh: the device mesh (unused).
    spec: the data's description.

  Returns:
    A `Program` of pure functions. Parameters and statistics of each component are
    {"first": ..., "second": ...}.

  Raises:
    ConfigError: no section co_teaching, a bottleneck that settles on the data, an objective whose
      examples depend on each other or that has no distortion per example, or an information
      plane, which is of one network.
    InputError: a forget rate outside [0, 1).

  Example:
    >>> program = co_teaching(config, None, spec)  # doctest: +SKIP

  Source: Han et al. 2018 (arXiv:1804.06872), algorithm 1, with R(T) of its step 11; combined with
  Nested Dropout as in Chen et al. 2021 (arXiv:2104.13766).
  """
  _check(config, spec)
  single = supervised(config, mesh, spec)
  views = count_views(config)
  options = {"train": True, "samples": config["train"]["samples"], "views": views}

  def forget_rate(step, hyper):
    section = hyper_lib.section(config, "co_teaching", hyper)
    values = hyper_lib.durations(section, "co_teaching", config, spec)
    progress = jnp.asarray(step, jnp.float32) / max(values["gradual_steps"], 1.0)
    return values["forget_rate"] * jnp.minimum(progress, 1.0)

  def loss(params, states, batch, key, step, hyper):
    given = (batch, key, step, hyper)
    seen = {
      peer: judge(config, spec, _of(params, peer), _of(states, peer), *given, **options)
      for peer in (FIRST, SECOND)
    }
    rate = forget_rate(step, hyper)
    kept = {
      peer: select(_distortion(terms, batch["mask"]), batch["mask"], rate)
      for peer, (terms, _, _, _) in seen.items()
    }
    taught = {}
    for peer, teacher in ((FIRST, SECOND), (SECOND, FIRST)):
      terms, mask, _, _ = seen[peer]
      copies = mask.shape[0] // batch["mask"].shape[0]
      taught[peer] = combine(terms, mask & jnp.tile(kept[teacher], copies))
    (one, one_minimax), metrics = taught[FIRST]
    (two, two_minimax), _ = taught[SECOND]
    metrics["kept_frac"] = mean_state("kept_frac", kept[SECOND], batch["mask"])
    if spec.num_classes:
      prediction = seen[FIRST][3].prediction
      logits = prediction.reshape(-1, *batch["mask"].shape, prediction.shape[-1])
      wrong = classification(logits, batch["y"])["err_frac"]
      metrics["err_frac"] = mean_state("err_frac", wrong, batch["mask"])
    new = {peer: found[2] for peer, found in seen.items()}
    minimax = None
    if one_minimax is not None and two_minimax is not None:
      minimax = one_minimax + two_minimax
    return (one + two, minimax), (_pair(new[FIRST], new[SECOND]), metrics)

  def init(hyper) -> TrainState:
    one = single.init(hyper)
    two = single.init({**hyper, "seed": hyper["seed"] ^ _OTHER_SEED})
    params, states = (
      _pair(getattr(one, name), getattr(two, name)) for name in ("params", "states")
    )
    n = config["data"]["batch_size"]
    width = (n, spec.target_dim) if spec.target_dim else (n,)
    batch = {
      "x": jnp.zeros((n, *spec.x_shape), spec.x_dtype),
      "y": jnp.zeros(width, jnp.float32 if spec.target_dim else jnp.int32),
      "mask": jnp.ones(n, bool),
    }
    return init_state(params, states, loss, batch, config, spec, hyper)

  def first(state: TrainState) -> TrainState:
    ema = _of(state.ema, FIRST) if config["train"]["ema"] is not None else ()
    return state._replace(params=_of(state.params, FIRST), states=_of(state.states, FIRST), ema=ema)

  def of_first(function):
    return lambda state, *rest: function(first(state), *rest)

  return Program(
    init,
    make_step(loss, config, spec),
    *(of_first(f) for f in (single.evaluate, single.predict, single.forward, single.gradient)),
  )


def select(distortion: Array, mask: Array, forget_rate: Any) -> Array:
  """Marks the examples of smallest distortion.

  Formula: the round((1 - R) n) smallest of the n that count, at least one; ties go to the earlier.

  Args:
    distortion: [n] nats.
    mask: [n] bool, True where the example counts.
    forget_rate: R in [0, 1]; may be traced.

  Returns:
    [n] bool.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.co_teaching import select
    >>> select(jnp.array([3.0, 1.0, 2.0]), jnp.ones(3, bool), 1 / 3).tolist()
    [False, True, True]

  Source: Han et al. 2018 (arXiv:1804.06872), algorithm 1, steps 5 and 6.
  """
  order = jnp.argsort(jnp.where(mask, distortion, jnp.inf))
  rank = jnp.argsort(order)
  count = jnp.maximum(jnp.round((1.0 - forget_rate) * jnp.sum(mask)), 1.0)
  return mask & (rank < count)


def _check(config: Mapping[str, Any], spec: DataSpec) -> None:
  if not {"forget_rate", "gradual"} <= set(config.get("co_teaching", {})):
    raise ConfigError(
      "co_teaching needs config.co_teaching = dict(forget_rate=0.2, gradual='10 epochs'): the "
      "share of a batch that is left out in the end, and how long it grows."
    )
  checks.between(
    "config.co_teaching.forget_rate", config["co_teaching"]["forget_rate"], 0.0, 1.0, open_high=True
  )
  _, bottleneck, _, objective = parts(config, spec, {})
  if bottleneck.settle is not None:
    raise ConfigError(
      f"{config['bottleneck']['fn']} starts from the data of one network, and co_teaching trains "
      "two. Use a bottleneck without data-dependent parts, such as gaussian or identity."
    )
  if objective.couples:
    raise ConfigError(
      f"co_teaching leaves single examples out, and the values of {config['objective']['fn']} are "
      "of a whole batch. Use an objective with a value per example: cross_entropy or vib."
    )
  if config.get("plane", {}).get("fn"):
    raise ConfigError(
      "config.plane tracks one network, and co_teaching trains two. Set config.plane.fn=''."
    )


def _distortion(terms: Terms, mask: Array) -> Array:
  """The mean distortion [n] of each example's copies."""
  term = terms.losses.get("distortion_nats")
  if term is None or term.value.ndim != 1:
    raise ConfigError(
      "co_teaching ranks examples by the loss 'distortion_nats', and this objective has "
      f"{', '.join(sorted(terms.losses))}. Use one with a distortion per example, such as "
      "cross_entropy or vib."
    )
  return jnp.mean(term.value.reshape(-1, *mask.shape), axis=0)


def _pair(first: Mapping[str, Tree], second: Mapping[str, Tree]) -> dict[str, Tree]:
  return {name: {FIRST: first[name], SECOND: second[name]} for name in first}


def _of(trees: Mapping[str, Tree], peer: str) -> dict[str, Tree]:
  return {name: pair[peer] for name, pair in trees.items()}
