"""The frame of recipes that learn classes one group after another, and what they compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections

from ibjax.core import config as base

METHODS = ("probe", "linear", "mlp", "rehearsal")
# What a recipe takes from the defaults; how it is fed and kept is the program's.
_SECTIONS = (
  *("program", "data", "encoder", "bottleneck", "decoder", "objective", "optimizer", "schedule"),
  *("beta_schedule", "train", "eval"),
)
_IDENTITY = "ibjax.models.identity:identity"
_MLP = "ibjax.models.mlp:mlp"


def class_incremental(
  source: str, width: int, classes: int, keys: Mapping[str, Any], learning_rate: float
) -> ml_collections.ConfigDict:
  """Returns the config of a key-value bottleneck on features that come two classes at a time.

  Args:
    source: of features [width] with labels.
    width: of the features.
    classes: how many there are.
    keys: keywords of `ibjax.bottlenecks.key_value`, but for dim, width and key_steps.
    learning_rate: of plain SGD on the values.

  Returns:
    A `ConfigDict` for `ibjax.programs.incremental`, without unlabelled steps as yet.

  Example:
    >>> from ibjax.core.continual import class_incremental
    >>> class_incremental("digits", 64, 10, dict(heads=8), 1.0).recipe.bottleneck.dim
    10
  """
  c = ml_collections.ConfigDict()
  c.seed = 0  # of the order of the classes, the batches and the model
  c.program = "ibjax.programs.incremental:incremental"
  # n training examples, 0 for all; split_classes=<all> is training on all at once.
  c.data = ml_collections.ConfigDict(dict(tasks=source, n=0, split_classes=2, shuffle=True))
  # Updates without labels before the first group: on another source, or on examples put aside.
  c.unlabelled = ml_collections.ConfigDict(dict(source="", examples=0, steps=0, batch_size=512))
  # rehearsal: examples kept in a memory and replayed, as many in a batch as there are new ones.
  c.training = ml_collections.ConfigDict(dict(epochs=10, batch_size=100, rehearsal=0))
  recipe = base.defaults()
  recipe.encoder = dict(fn=_IDENTITY)
  recipe.bottleneck = dict(
    fn="ibjax.bottlenecks.key_value:key_value", dim=classes, width=width, key_steps=0, **keys
  )
  recipe.decoder = dict(fn=_IDENTITY)
  recipe.optimizer = dict(fn="optax:sgd", learning_rate=learning_rate)
  recipe.schedule = dict(fn="ibjax.core.schedules:constant")
  recipe.eval.samples = 1
  c.recipe = ml_collections.ConfigDict({name: recipe[name] for name in _SECTIONS})
  return c


def learn_keys(c: ml_collections.ConfigDict, **unlabelled: Any) -> ml_collections.ConfigDict:
  """Sets the unlabelled steps in which keys are learned, for the program and the bottleneck alike.

  Args:
    c: a config of `class_incremental`; changed in place.
    **unlabelled: source, examples, steps and batch_size of `config.unlabelled`.

  Returns:
    The same config.
  """
  c.unlabelled.update(unlabelled)
  c.recipe.bottleneck.key_steps = c.unlabelled.steps
  return c


def method(
  c: ml_collections.ConfigDict, name: str, hidden: int = 128, rehearsal: int = 500
) -> ml_collections.ConfigDict:
  """Puts another method into a finished recipe of `class_incremental`.

  "probe" decodes the values of all heads, side by side, by a linear layer, with an Adam that moves
  values that are fetched only; the rest have no keys: "linear" is a linear probe, "mlp" has one
  hidden layer, and "rehearsal" is the latter with a memory.

  Args:
    c: the config; changed in place.
    name: one of `METHODS`; any other text changes nothing.
    hidden: units of the hidden layer.
    rehearsal: examples in the memory.

  Returns:
    The same config.
  """
  recipe = c.recipe
  if name == "probe":
    classes, heads = recipe.bottleneck.dim, recipe.bottleneck.heads
    recipe.bottleneck.update(dict(dim=classes * heads, decode="concatenated"))
    recipe.decoder = dict(fn=_MLP, hidden=())
    recipe.optimizer = dict(fn="ibjax.programs.lazy_adam:lazy_adam", learning_rate=1e-3)
  elif name in METHODS:
    width = recipe.bottleneck.width
    recipe.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=width)
    recipe.decoder = dict(fn=_MLP, hidden=() if name == "linear" else (hidden,))
    recipe.optimizer = dict(fn="optax:adam", learning_rate=1e-3)
    c.unlabelled.steps = 0
    if name == "rehearsal":
      c.training.rehearsal = rehearsal
  return c
