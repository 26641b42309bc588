"""Measuring generalisation: one recipe trained on several samples, and what its layers keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ibjax.core import checks
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import resolve
from ibjax.core.types import DataSpec, Measurement
from ibjax.data import feed
from ibjax.data import source as source_lib
from ibjax.evaluators.generalisation import (
  conditional_information,
  index_information,
  leading_term,
  pairwise_kl,
  scores,
)
from ibjax.programs import hyper as hyper_lib

PART = "models"
# The seed of the noise of training on sample k of run s is s STRIDE + k: none is used twice.
STRIDE = 1000


def generalisation(config: Mapping[str, Any]) -> Measurement:
  """Trains one recipe on `config.data.n` samples of a distribution, and relates gap to information.

  Formula: every sample S_k trains a network from the same start for `config.training.steps` steps,
  each on all its examples. Over the last steps, from `config.training.average_from` (a fraction)
  on, mean m_k and variance v_k of every parameter along the way make a Gaussian posterior
  N(m_k, v_k), as SWAG with its diagonal (v_k at least `config.training.variance_floor`). Then
  I(phi;S) <= 1/k^2 sum KL(N_i || N_j), of the encoder's parameters, and of all parameters
  (`ibjax.evaluators.generalisation.index_information`). I(X;Z|Y) and I(X;Z) are of the trained
  networks' codes on the test split, and the gap is test less train loss, all averaged over the
  samples.

  The row: `gap_nats`, `gap_err_frac`, `train_nll_nats`, `test_nll_nats`, `train_err_frac`,
  `test_err_frac`; `i_xz_y_lower_nats`, `i_xz_y_loo_upper_nats`, `i_xz_y_jensen_upper_nats` and the
  same of I(X;Z); `i_phi_s_jensen_upper_nats`, `i_phi_s_pairwise_upper_nats` and `i_theta_s_...` of
  all parameters; `leading_fixed` and `leading_learned`, the leading terms of theorems 1 and 2;
  `parameters`, their number, and `weight_norm`, the Euclidean norm of all.

  Assumptions: the posterior is diagonal, where SWAG adds a covariance of low rank; all samples
  start alike, so that I(phi;S) is given the start, as in the paper's study of single seeds; with k
  samples the mixture of posteriors stands for the marginal of phi.

  Args:
    config: {"seed", "data": {"tasks": a source with "seed={seed}" in it, "n"}, "training":
      {"steps", "average_from", "variance_floor"}, "recipe": the sections of
      `ibjax.core.config.defaults` that make a model and its update}.

  Returns:
    The measurement, of one part.

  Raises:
    ConfigError: a source without "{seed}" or without labels, or a recipe that does not fit.
    InputError: a number outside its range.

  Source: Kawaguchi et al. 2023 (arXiv:2305.18887), section 5; Maddox et al. 2019
  (arXiv:1902.02476), section 3.2, for the posterior.
  """
  data, training = config["data"], config["training"]
  recipe = {**config["recipe"], "seed": config["seed"]}
  checks.at_least("config.data.n", data["n"], 2)
  checks.at_least("config.training.steps", training["steps"], 2)
  checks.between("config.training.average_from", training["average_from"], 0.0, 1.0, open_high=True)
  checks.at_least("config.training.variance_floor", training["variance_floor"], 0.0, strict=True)
  if "{seed}" not in data["tasks"]:
    raise ConfigError(
      f"config.data.tasks='{data['tasks']}' gives one sample; write '{{seed}}' where the source "
      "takes its seed, e.g. toy:blobs:n=50,seed={seed}."
    )
  sources = [source_lib.load(data["tasks"].format(seed=k), None) for k in range(data["n"])]
  if not sources[0].num_classes:
    raise ConfigError(f"'{data['tasks']}' has real-valued targets; this program needs labels.")
  splits = [
    {name: feed.read_all(source.splits[name]) for name in ("train", "test")} for source in sources
  ]
  first = splits[0]["train"]
  labels = np.bincount(first["y"], minlength=sources[0].num_classes)
  spec = DataSpec(
    x_shape=first["x"].shape[1:],
    x_dtype=first["x"].dtype,
    num_classes=sources[0].num_classes,
    label_probs=labels / labels.sum(),
    steps_per_epoch=1,
    total_steps=training["steps"],
    n_train=len(first["y"]),
  )
  resolve(recipe["program"])(recipe, None, spec)  # what does not fit is said before measuring

  def measure(part: str) -> dict[str, Any]:
    del part
    averaged = max(1, round(training["steps"] * (1.0 - training["average_from"])))
    run = _trainer(recipe, spec, training["steps"] - averaged, averaged)
    x = jnp.stack([one["train"]["x"] for one in splits])
    y = jnp.stack([one["train"]["y"] for one in splits])
    hyper = hyper_lib.traced(recipe)
    test = jnp.asarray(splits[0]["test"]["x"])
    found = jax.device_get(run(hyper, x, y, test))
    return _measured(found, splits, config)

  return Measurement(
    method=recipe["objective"]["fn"].rpartition(":")[2],
    data={"name": data["tasks"], "fingerprint": sources[0].fingerprint, "n": data["n"]},
    parts=(PART,),
    measure=measure,
    summarize=lambda parts: dict(parts[PART]),
  )


def _measured(found, splits, config) -> dict[str, float]:
  """The row, from the arrays of all samples."""
  rows = []
  for k, one in enumerate(splits):
    losses = {}
    for name in ("train", "test"):
      losses[name] = scores(found[name]["prediction"][k], one[name]["y"])
    key = jax.random.fold_in(jax.random.key(config["seed"]), k)
    seen = found["test"]
    row = {
      "gap_nats": losses["test"][0] - losses["train"][0],
      "gap_err_frac": losses["test"][1] - losses["train"][1],
    }
    for name, (nats, wrong) in losses.items():
      row |= {f"{name}_nll_nats": nats, f"{name}_err_frac": wrong}
    row |= conditional_information(seen["mean"][k], seen["log_scale"][k], one["test"]["y"], key)
    row["weight_norm"] = float(np.linalg.norm(found["mean"][k]))
    rows.append(row)
  row = {name: float(np.mean([one[name] for one in rows])) for name in rows[0]}
  log_scale = 0.5 * np.log(np.maximum(found["variance"], config["training"]["variance_floor"]))
  encoder = found["is_encoder"].astype(bool)
  for name, chosen in (("phi", encoder), ("theta", np.ones_like(encoder))):
    kl = pairwise_kl(found["mean"][:, chosen], log_scale[:, chosen])
    row |= {f"i_{name}_s_{side}": value for side, value in index_information(kl).items()}
  n = len(splits[0]["train"]["y"])
  kept = max(0.0, row["i_xz_y_lower_nats"])
  row["leading_fixed"] = leading_term(kept, 0.0, n)
  row["leading_learned"] = leading_term(kept, row["i_phi_s_jensen_upper_nats"], n)
  row["parameters"] = int(encoder.size)
  return row


# Compiled trainings: one for all recipes that differ in traced values alone.
_TRAINERS: dict[tuple[Any, ...], Callable[..., Any]] = {}


def _trainer(
  recipe: Mapping[str, Any], spec: DataSpec, before: int, averaged: int
) -> Callable[..., Any]:
  """`run(hyper, x [k, n, ...], y [k, n], test [m, ...])`: all samples trained, and looked at."""
  key = (hyper_lib.static_key(recipe), str(spec), before, averaged)
  if key not in _TRAINERS:
    _TRAINERS[key] = jax.jit(_training(recipe, spec, before, averaged))
  return _TRAINERS[key]


def _training(
  recipe: Mapping[str, Any], spec: DataSpec, before: int, averaged: int
) -> Callable[..., Any]:
  program = resolve(recipe["program"])(recipe, None, spec)

  def run(hyper, x, y, test):
    samples = x.shape[0]
    hypers = jax.vmap(lambda k: {**hyper, "seed": hyper["seed"] * STRIDE + k})(jnp.arange(samples))
    start = program.init(hyper)
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (samples, *leaf.shape)), start)
    batch = {"x": x, "y": y, "mask": jnp.ones(y.shape, bool)}
    step = jax.vmap(program.step)
    flat = jax.vmap(lambda params: ravel_pytree(params)[0])

    def one(carry, count):
      # Welford's update of mean and sum of squares, from the first step that counts on.
      state, mean, squares = carry
      state = step(state, batch, hypers)
      weights = flat(state.params)
      away = weights - mean
      moved = mean + away / jnp.maximum(count, 1)
      squares = jnp.where(count > 0, squares + away * (weights - moved), squares)
      return (state, jnp.where(count > 0, moved, mean), squares), None

    zeros = jnp.zeros_like(flat(state.params))
    counts = jnp.arange(before + averaged) - before + 1
    (state, mean, squares), _ = jax.lax.scan(one, (state, zeros, zeros), counts)
    seen = {
      name: jax.vmap(program.forward, in_axes=(0, axis, None, 0))(state, rows, 0, hypers)
      for name, rows, axis in (("train", x, 0), ("test", test, None))
    }
    marks = {name: jax.tree.map(jnp.ones_like, part) for name, part in start.params.items()}
    marks |= {
      name: jax.tree.map(jnp.zeros_like, part)
      for name, part in start.params.items()
      if name in ("decoder", "objective")
    }
    return {
      **seen,
      "mean": mean,
      "variance": squares / averaged,
      "is_encoder": ravel_pytree(marks)[0],
    }

  return run
