"""Whether adding a latent's direction to a layer makes the model answer with its class."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Tapped, Trained
from ibjax.evaluators.dictionaries import directions, encode, origin
from ibjax.evaluators.sparse_probing import difference


def steering(
  run: str = "",
  layer: str = "",
  strength: float = 4.0,
  classes: int = 10,
  split: str = "test",
  examples: int = 256,
) -> Callable[[Trained], dict[str, float]]:
  """Measures how often a class's latent, added to a layer, makes the model predict that class.

  Formula: for each class, among latents whose mean activation rises most on the inputs that the
  model itself takes for that class, the first; h' = h + strength a d with its row d of the decoder
  and a its mean activation where it is active. Over the examples that the model does not take for
  the class: "moved" = share that it takes for it then; "log_prob_gain" = mean rise of its log
  probability. "random" is the same with a random direction of equal length.

  Use it to see whether latents act, beyond answering. For text, classes are next tokens.

  Args:
    run: folder of the run whose layer it is; "" takes the activation store's.
    layer: of that run; "" likewise.
    strength: in units of the latent's mean activation, > 0.
    classes: those that the model predicts most often.
    split: of that run's data.
    examples: the first so many (windows, of text); 0 takes all.

  Returns:
    `assess(trained)` -> {"moved_frac", "log_prob_gain_nats", "random_moved_frac",
    "random_log_prob_gain_nats"}; NaN of a model that answers with one class alone.

  Raises:
    InputError: a model of targets, a run that is not the one whose activations these are, or
      another layer or width.

  Example:
    >>> from ibjax.evaluators.steering import steering
    >>> assess = steering(strength=8.0)

  Source: adding a decoder's direction to steer, Bricken et al. 2023 and Templeton et al. 2024 (as
  recalled); the measure is our own.
  """
  checks.at_least("strength", strength, 0.0, strict=True)
  checks.at_least("classes", classes, 1)
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    tapped, where, source, _ = origin(trained, run, layer)
    if tapped.targets:
      raise InputError("steering: the model predicts targets; this measures classes or tokens.")
    x = np.asarray(tapped.data(source, split)["x"])[: examples or None]
    given = tapped.capture(x, where)
    plain = tapped.outputs(x)
    if plain.shape[:-1] != given.shape[:-1]:
      raise InputError(
        f"steering: the layer has positions {list(given.shape[1:-1])} and the outputs "
        f"{list(plain.shape[1:-1])}; choose a layer of as many."
      )
    taken = plain.argmax(axis=-1)
    latents = encode(trained, given.reshape(-1, given.shape[-1])).latents
    rows, found = directions(trained), []
    counts = np.bincount(taken.ravel(), minlength=plain.shape[-1])
    for number in np.argsort(-counts, kind="stable")[:classes]:
      others = taken != number
      if not counts[number] or not others.any():
        continue
      best = int(np.argmax(difference(latents, taken.ravel() == number)))
      own = latents[:, [best]].data
      step = strength * (own.mean() if len(own) else 0.0) * rows[best]
      noise = np.random.default_rng([trained.seed, int(number)]).normal(size=step.shape)
      noise *= np.linalg.norm(step) / np.linalg.norm(noise)
      pair = [_effect(tapped, x, where, given + s, plain, number, others) for s in (step, noise)]
      found.append([*pair[0], *pair[1]])
    own_names = ("moved_frac", "log_prob_gain_nats")
    names = (*own_names, *(f"random_{name}" for name in own_names))
    if not found:  # the model answers with one class whatever it is given
      return dict.fromkeys(names, math.nan)
    return dict(zip(names, map(float, np.mean(found, axis=0))))

  return assess


def _effect(
  tapped: Tapped,
  x: np.ndarray,
  layer: str,
  value: np.ndarray,
  plain: np.ndarray,
  number: int,
  others: np.ndarray,
) -> tuple[float, float]:
  steered = tapped.outputs(x, layer, value)
  before, after = (log_softmax(out, axis=-1)[..., number][others] for out in (plain, steered))
  return float(np.mean((steered.argmax(axis=-1) == number)[others])), float(np.mean(after - before))
