"""Measuring what a narrow last layer costs language models: over widths, ranks, and in sampling."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.resolver import resolve
from ibjax.core.types import Measurement
from ibjax.data import feed
from ibjax.data import source as source_lib
from ibjax.evaluators import softmax_bottleneck as measures
from ibjax.exact import basis_aware
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.nested_distillation import plain_nll
from ibjax.programs import in_memory

MOST_STATES = 4096  # of which ranks, cosines and heads are found


def softmax_bottleneck(config: Mapping[str, Any]) -> Measurement:
  """Trains decoders of several widths, and looks at their last layers.

  Parts: "width W", a decoder of that width trained: its loss on the test split, `lost_nats` (the
  last less the best of `config.training.points` along the way), the anisotropy of its last hidden
  states, the singular entropy of its head, and the ranks of logits and log probabilities; "head R",
  a head of rank R trained on the hidden states of the widest decoder, which do not change, its loss
  on the states it was trained on; "truncation", of the narrowest decoder's distributions after
  `config.truncation.n` contexts: tokens that basis-aware truncation keeps, their probability
  (`kept_mass_frac`), what a threshold alone accepts (`accepted_mass_frac`), and how often a kept
  token is less likely than one that is not kept (`unlike_threshold_frac`).

  The row: all of these by part, and `excess_W_nats` of each width over the power law of the three
  widest (of the non-embedding part, which goes with the square of the width).

  Args:
    config: {"seed", "data": {"tasks": a source of tokens, "n_test": test windows}, "training":
      {"steps", "points", "widths": by commas}, "head": {"ranks": by commas, "steps"}, "truncation":
      {"n", "delta"}, "recipe": a config of `ibjax.core.config.language`, untied}.

  Returns:
    The measurement.

  Raises:
    ConfigError: lists that are none, a width that does not fit the recipe.
    InputError: a number outside its range.

  Source: Godey et al. 2024 (arXiv:2404.07647), sections 2 to 5; Finlayson et al. 2024
  (arXiv:2310.01693).
  """
  data, training = config["data"], config["training"]
  widths = sorted(in_memory.listed("config.training.widths", training["widths"], 4096))
  checks.at_least("the number of config.training.widths", len(widths), 1)
  checks.at_least("config.data.n_test", data["n_test"], 1)
  checks.at_least("config.truncation.n", config["truncation"]["n"], 1)
  checks.at_least("config.truncation.delta", config["truncation"]["delta"], 0.0, strict=True)
  checks.at_least("config.head.steps", config["head"]["steps"], 1)
  source = source_lib.load(data["tasks"], None)
  spec = in_memory.spec_of(source, config)
  most = min(widths[-1], spec.num_classes)  # no head has a higher rank
  ranks = in_memory.listed("config.head.ranks", config["head"]["ranks"], most)

  def recipe(width: int) -> dict[str, Any]:
    return in_memory.with_decoder(config, {"width": width, "hidden": 4 * width})

  def keywords(width: int) -> dict[str, Any]:
    own = {k: v for k, v in recipe(width)["decoder"].items() if k != "fn"}
    return own | {"out": spec.num_classes}

  for width in widths:  # what does not fit is said before anything is trained
    resolve(config["recipe"]["program"])(recipe(width), None, spec)

  @functools.cache
  def splits() -> dict[str, dict[str, np.ndarray]]:
    return {name: feed.read_all(source.splits[name]) for name in ("train", "test")}

  @functools.cache
  def trained(width: int) -> list[Any]:
    given = (spec, splits()["train"], training["steps"], config["seed"], training["points"])
    return in_memory.train(recipe(width), *given)

  def states(width: int, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hidden [k, width], logits [k, tokens], what followed [k])."""
    rows = in_memory.whole_windows(splits()[split], max(1, MOST_STATES // spec.x_shape[0]))

    @jax.jit
    def run(params):
      with recording() as record:
        logits, _ = decoder(**keywords(width)).apply(
          params, {}, jnp.asarray(rows[:, :-1]), key=None, train=False
        )
      return record["norm.out"], logits

    hidden, logits = run(trained(width)[-1])
    flat = [np.asarray(part).reshape(-1, part.shape[-1]) for part in (hidden, logits)]
    return flat[0], flat[1], rows[:, 1:].ravel()

  def at_width(width: int) -> dict[str, Any]:
    test = in_memory.whole_windows(splits()["test"], data["n_test"])
    losses = [plain_nll(params, keywords(width), test) for params in trained(width)]
    hidden, logits, _ = states(width, "test")
    return {
      "nll_nats": losses[-1],
      "lost_nats": measures.saturation(losses).lost,
      "anisotropy": measures.anisotropy(hidden),
      "singular_entropy_nats": float(measures.singular_entropy(_head(trained(width)[-1]))),
      "logit_rank": measures.matrix_rank(logits),
      "log_prob_rank": measures.matrix_rank(np.asarray(jax.nn.log_softmax(jnp.asarray(logits)))),
    }

  def at_rank(rank: int) -> dict[str, Any]:
    hidden, _, targets = states(widths[-1], "train")
    steps = config["head"]["steps"]
    return {
      "nll_nats": measures.constrained_head(
        hidden, targets, spec.num_classes, rank, steps, seed=config["seed"]
      )
    }

  def truncated() -> dict[str, Any]:
    _, logits, _ = states(widths[0], "test")
    chosen = logits[:: max(1, len(logits) // config["truncation"]["n"])][
      : config["truncation"]["n"]
    ]
    basis = basis_aware.output_basis(np.asarray(_head(trained(widths[0])[-1])))
    return truncation(np.asarray(jax.nn.softmax(chosen)), basis, config["truncation"]["delta"])

  def measure(part: str) -> dict[str, Any]:
    kind, _, argument = part.partition(" ")
    if kind == "truncation":
      return truncated()
    return at_width(int(argument)) if kind == "width" else at_rank(int(argument))

  def summarize(done: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    row = {
      f"{part.replace(' ', '_')}_{name}": value
      for part, found in done.items()
      for name, value in found.items()
    }
    if len(widths) > 3:
      losses = [done[f"width {width}"]["nll_nats"] for width in widths]
      over = measures.excess(np.square(widths), losses)
      row |= {f"excess_{width}_nats": float(value) for width, value in zip(widths, over)}
    return row

  return Measurement(
    method="softmax_bottleneck",
    data={"name": data["tasks"], "fingerprint": source.fingerprint, "n": source.splits["train"].n},
    parts=(*(f"width {w}" for w in widths), *(f"head {r}" for r in ranks), "truncation"),
    measure=measure,
    summarize=summarize,
  )


def truncation(probs: np.ndarray, basis: np.ndarray, delta: float) -> dict[str, float]:
  """What basis-aware truncation does to distributions, as means over them.

  Args:
    probs: [k, tokens].
    basis: see `ibjax.exact.basis_aware.output_basis`.
    delta: nats of underestimation, see `ibjax.exact.basis_aware.least_probability`.

  Returns:
    "kept_tokens", "kept_mass_frac", "accepted_mass_frac", "unlike_threshold_frac".
  """
  found = []
  for p in np.asarray(probs, np.float64):
    kept = basis_aware.support(p / p.sum(), basis, delta)
    accepted = basis_aware.accepted(p, delta)
    unlike = kept.any() and not kept.all() and p[kept].min() < p[~kept].max()
    found.append((kept.sum(), p[kept].sum(), p[accepted].sum(), float(unlike)))
  names = ("kept_tokens", "kept_mass_frac", "accepted_mass_frac", "unlike_threshold_frac")
  return dict(zip(names, map(float, np.mean(found, axis=0))))


def _head(params: Mapping[str, Any]) -> Any:
  """[tokens, width] of the last layer."""
  if "head" in params:
    return params["head"]["kernel"].T
  return params["embed"]["embedding"]
