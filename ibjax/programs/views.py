"""Augmented views of a batch, as `config.views` asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import bind
from ibjax.programs import hyper as hyper_lib

Array = jax.Array


def count_views(config: Mapping[str, Any]) -> int:
  """Returns how many views of each example a config asks for; 0 when it augments nothing.

  Args:
    config: the resolved config.

  Returns:
    `config.views.count`, or 0 without a `config.views.fn`.

  Raises:
    ConfigError: a count below 1, several views without a way to make them, or several views of
      which several codes each would be drawn.
  """
  asked = config.get("views", {})
  count = asked.get("count", 1)
  if count < 1:
    raise ConfigError(f"config.views.count={count} must be at least 1.")
  if not asked.get("fn"):
    if count > 1:
      raise ConfigError(
        f"config.views.count={count} asks for views of each example, and config.views.fn is "
        "empty. Name one of ibjax.views (`ibjax list views`), or set the count to 1."
      )
    return 0
  if config["train"]["samples"] > 1:
    raise ConfigError(
      f"config.train.samples={config['train']['samples']} draws several codes of an input, and "
      "config.views has several inputs of an example; set config.train.samples=1."
    )
  return count


def make_views(config: Mapping[str, Any], hyper: Mapping[str, Any], x: Array, key: Array) -> Array:
  """Augments a batch, once for each view; with `config.views.keep_first` the first is as it is.

  Args:
    config: the resolved config, with `config.views`.
    hyper: traced hyperparameters.
    x: [n, ...] float inputs.
    key: of the randomness; each view draws its own.

  Returns:
    [views n, ...], view-major.

  Raises:
    ConfigError: the augmentation's name, keyword, type or range is wrong.
  """
  section = hyper_lib.section(config, "views", hyper)
  count = section.pop("count")
  kept = [x] if section.pop("keep_first", False) else []
  augment = bind(section)
  made = (augment(x, rng.stream(key, "views", i)) for i in range(len(kept), count))
  return jnp.concatenate([*kept, *made])
