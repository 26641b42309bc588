"""Training language models in one compiled loop, for programs that measure what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import ConfigError, DivergedError
from ibjax.core.resolver import resolve
from ibjax.core.types import DataSpec
from ibjax.programs import hyper as hyper_lib

Tokens = Mapping[str, np.ndarray]


def train(
  recipe: Mapping[str, Any], spec: DataSpec, tokens: Tokens, steps: int, seed: int, points: int = 1
) -> list[Any]:
  """Trains a language model without a folder.

  Args:
    recipe: the resolved config of the model and its update, see `ibjax.core.config.language`.
    spec: the data's description.
    tokens: {"x", "y"} [n, t] of the training split.
    steps: of training.
    seed: of the order of the windows, anew in each epoch.
    points: how many states on the way are kept, evenly spaced; must divide the steps.

  Returns:
    The decoder's parameters at each point, the last being those at the end; averages of them where
    `recipe.train.ema` asks for these.

  Raises:
    ConfigError: points that do not divide the steps.
    DivergedError: a loss was NaN or infinite.
  """
  checks.at_least("config.training.steps", steps, 1)
  if points < 1 or steps % points:
    raise ConfigError(f"config.training.points={points} must divide config.training.steps={steps}.")
  program = resolve(recipe["program"])(recipe, None, spec)
  x, y = jnp.asarray(tokens["x"]), jnp.asarray(tokens["y"])
  batch = recipe["data"]["batch_size"]
  rng = np.random.default_rng(seed)
  epochs = -(-steps * batch // len(x))
  rows = np.concatenate([rng.permutation(len(x)) for _ in range(epochs)])[: steps * batch]

  @jax.jit
  def run(hyper: Any, rows: Any) -> Any:
    def step(state, own):
      given = {"x": x[own], "y": y[own], "mask": jnp.ones(batch, bool)}
      return program.step(state, given, hyper), None

    def point(state, some):
      state, _ = jax.lax.scan(step, state, some)
      weights = state.params if recipe["train"]["ema"] is None else state.ema
      return state, weights["decoder"]

    state, found = jax.lax.scan(point, program.init(hyper), rows)
    return found, state.bad_step

  found, bad = run(hyper_lib.traced(recipe), jnp.asarray(rows.reshape(points, -1, batch)))
  if int(bad) >= 0:
    raise DivergedError(
      f"the loss became NaN or infinite at step {int(bad)} of {steps}. Lower "
      "config.recipe.optimizer.learning_rate."
    )
  return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(points)]


def with_decoder(config: Mapping[str, Any], decoder: Mapping[str, Any]) -> dict[str, Any]:
  """The recipe of a measuring config, at its seed, with some keywords of the decoder changed.

  Args:
    config: {"seed", "recipe"}.
    decoder: keywords that replace the recipe's.

  Returns:
    A config as `train` takes it.
  """
  recipe = {**config["recipe"], "seed": config["seed"]}
  return {**recipe, "decoder": {**recipe["decoder"], **decoder}}


def spec_of(source: Any, config: Mapping[str, Any]) -> DataSpec:
  """The description of a source of tokens, for a training of `config.training.steps`.

  Args:
    source: a loaded source.
    config: {"data": {"tasks"}, "training": {"steps"}, "recipe"}.

  Returns:
    A `DataSpec`.

  Raises:
    ConfigError: a source of something else, or a recipe with bottlenecks at some layers.
  """
  if sites := config["recipe"]["sites"]:
    raise ConfigError(
      f"config.recipe.sites={tuple(sites)}: this program measures the decoder alone, without "
      "bottlenecks at its layers. Set config.recipe.sites=()."
    )
  if len(source.x_shape) != 1 or not source.num_classes:
    raise ConfigError(
      f"config.data.tasks='{config['data']['tasks']}' has inputs of {list(source.x_shape)}, and "
      "this program needs windows of tokens. Use a source of tokens: text, finite_state."
    )
  counts = np.bincount(source.train_labels, minlength=source.num_classes)
  batch = config["recipe"]["data"]["batch_size"]
  return DataSpec(
    x_shape=source.x_shape,
    x_dtype=source.x_dtype,
    num_classes=source.num_classes,
    label_probs=counts / counts.sum(),
    steps_per_epoch=max(1, source.splits["train"].n // batch),
    total_steps=config["training"]["steps"],
    n_train=source.splits["train"].n,
  )


def whole_windows(tokens: Tokens, n: int) -> np.ndarray:
  """Windows of a split and what follows each of their tokens, spread evenly over the split.

  Args:
    tokens: {"x", "y"} [n, t]; a target below 0 is behind the end.
    n: how many at most.

  Returns:
    [n, t + 1].
  """
  whole = np.flatnonzero((tokens["y"] >= 0).all(axis=1))
  rows = whole[np.linspace(0, len(whole) - 1, min(n, len(whole))).round().astype(int)]
  return np.concatenate([tokens["x"][rows], tokens["y"][rows, -1:]], axis=1)


def listed(name: str, text: Any, most: int) -> list[int]:
  """Whole numbers written with commas.

  Args:
    name: the key in the config.
    text: e.g. "8,16".
    most: the largest allowed; the least is 1.

  Returns:
    The numbers.

  Raises:
    ConfigError: something else, or a number out of range.

  Example:
    >>> from ibjax.programs.in_memory import listed
    >>> listed("config.training.widths", "8,16", 64)
    [8, 16]
  """
  found = []
  for part in str(text).split(",") if str(text) else []:
    if not part.isdigit() or not 1 <= int(part) <= most:
      raise ConfigError(f"{name} has '{part}', expected whole numbers in 1..{most} with commas.")
    found.append(int(part))
  return found
