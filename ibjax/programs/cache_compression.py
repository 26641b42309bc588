"""Measuring what a smaller cache of keys and values costs a decoder trained without one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import resolve
from ibjax.core.types import Measurement
from ibjax.data import feed
from ibjax.data import source as source_lib
from ibjax.models import latent_attention, latent_conversion, nested_cache, nested_distillation
from ibjax.programs import in_memory


def cache_compression(config: Mapping[str, Any]) -> Measurement:
  """Trains a decoder of grouped-query attention, makes its cache smaller in several ways, compares.

  Parts: "teacher", the decoder with its own cache; "latent R+D", its conversion to latent attention
  of rank R with D rotary dimensions, without further training; "scratch R+D", latent attention of
  these sizes trained in its place, from the same recipe; "nested P", its nested cache at P percent
  of the numbers, by principal components and by trained projections, each with one rank for all
  heads, and with ranks found by the greedy search.

  The row: of each part the loss on the test split, `..._nll_nats` per token, and what it keeps of
  a token, `..._cache_bytes`.

  Args:
    config: {"seed", "data": {"tasks": a source of tokens, "n": windows to calibrate on, "n_test":
      test windows}, "training": {"steps"}, "latent": {"sizes": "R+D" by commas, "scratch": the
      same}, "nested": {"percents": by commas, "steps", "learning_rate", "levels", "granularity"},
      "recipe": a config of `ibjax.core.config.language`, whose batches the training takes}.

  Returns:
    The measurement.

  Raises:
    ConfigError: another attention than grouped-query in the recipe, sizes that are none, or a
      recipe that does not fit.
    InputError: a number outside its range.

  Source: Meng et al. 2025 (arXiv:2502.07864) for the conversion; Lin et al. 2025
  (arXiv:2410.14731) for the nested cache.
  """
  data, nested, recipe = config["data"], config["nested"], in_memory.with_decoder(config, {})
  for name, value in (("n", data["n"]), ("n_test", data["n_test"])):
    checks.at_least(f"config.data.{name}", value, 1)
  if recipe["decoder"].get("attention", "grouped_query") != "grouped_query":
    raise ConfigError(
      "cache_compression starts from grouped-query attention, and config.recipe.decoder.attention="
      f"'{recipe['decoder']['attention']}'. Remove it; config.latent.scratch trains the other."
    )
  latent, scratch = (_sizes(config["latent"][name]) for name in ("sizes", "scratch"))
  percents = in_memory.listed("config.nested.percents", nested["percents"], 100)
  source = source_lib.load(data["tasks"], None)
  spec = in_memory.spec_of(source, config)
  for sizes in (None, *scratch):  # what does not fit is said before anything is trained
    resolve(recipe["program"])(in_memory.with_decoder(config, _latent(sizes)), None, spec)
  keywords = {k: v for k, v in recipe["decoder"].items() if k != "fn"} | {"out": spec.num_classes}
  _check_conversions(keywords, latent, nested, percents)

  @functools.cache
  def splits() -> dict[str, dict[str, np.ndarray]]:
    return {name: feed.read_all(source.splits[name]) for name in ("train", "test")}

  def joined(split: str, n: int) -> np.ndarray:
    return in_memory.whole_windows(splits()[split], n)

  @functools.cache
  def trained(sizes: tuple[int, int] | None) -> Any:
    own = in_memory.with_decoder(config, _latent(sizes))
    return in_memory.train(
      own, spec, splits()["train"], config["training"]["steps"], config["seed"]
    )[-1]

  @functools.cache
  def principal() -> nested_cache.Projections:
    return nested_cache.principal(trained(None), keywords, jnp.asarray(joined("train", data["n"])))

  @functools.cache
  def distilled() -> nested_cache.Projections:
    return nested_distillation.distil(
      trained(None),
      keywords,
      principal(),
      joined("train", len(splits()["train"]["x"])),
      steps=nested["steps"],
      learning_rate=nested["learning_rate"],
      levels=nested["levels"],
      seed=config["seed"],
    ).projections

  def loss(params: Any, of: Mapping[str, Any]) -> float:
    return nested_distillation.plain_nll(params, of, joined("test", data["n_test"]))

  def measure(part: str) -> dict[str, Any]:
    kind, _, argument = part.partition(" ")
    layers = int(keywords.get("layers", 4))
    if kind == "teacher":
      whole = principal().mean.size  # a number of each key and value of all layers
      return {"nll_nats": loss(trained(None), keywords), "cache_bytes": 4 * whole}
    if kind == "nested":
      return nested_part(int(argument))
    rank, rotary = _sizes(argument)[0]
    size = {"cache_bytes": latent_attention.latent_cache_bytes(layers, rank, rotary)}
    if kind == "scratch":
      of = {**keywords, **_latent((rank, rotary))}
      return {"nll_nats": loss(trained((rank, rotary)), of), **size}
    moments = latent_conversion.second_moments(
      trained(None), keywords, jnp.asarray(joined("train", data["n"])[:, :-1])
    )
    found = latent_conversion.to_latent(
      trained(None), keywords, moments, rank, rotary, spec.x_shape[0]
    )
    return {
      "nll_nats": loss(found.params, found.keywords),
      **size,
      "tail_frac": float(found.tails.mean()),
      "stilled_frac": float(found.stilled.mean()),
    }

  def nested_part(percent: int) -> dict[str, Any]:
    test, few = joined("test", data["n_test"]), jnp.asarray(joined("train", 4)[:, :-1])
    found: dict[str, Any] = {}
    for name, projections in (("pca", principal()), ("trained", distilled())):
      slots, size = projections.mean.shape[:-1], projections.mean.shape[-1]
      options = {"levels": nested["levels"], "granularity": nested["granularity"]}
      ranks = {
        "": np.full(slots, max(1, round(size * percent / 100))),
        "_search": nested_distillation.search_ranks(
          trained(None), keywords, projections, few, percent / 100, **options
        ),
      }
      for how, own in ranks.items():
        value = nested_distillation.nll(trained(None), keywords, projections, own, test)
        found[f"{name}{how}_nll_nats"] = value
        found[f"{name}{how}_cache_bytes"] = nested_cache.nested_cache_bytes(own)
    return found

  parts = (
    "teacher",
    *(f"latent {rank}+{rotary}" for rank, rotary in latent),
    *(f"scratch {rank}+{rotary}" for rank, rotary in scratch),
    *(f"nested {percent}" for percent in percents),
  )

  def summarize(done: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {
      f"{part.replace(' ', '_').replace('+', '_')}_{name}": value
      for part, found in done.items()
      for name, value in found.items()
    }

  return Measurement(
    method="cache_compression",
    data={"name": data["tasks"], "fingerprint": source.fingerprint, "n": data["n"]},
    parts=parts,
    measure=measure,
    summarize=summarize,
  )


def _check_conversions(
  keywords: Mapping[str, Any],
  latent: Sequence[tuple[int, int]],
  nested: Mapping[str, Any],
  percents: Sequence[int],
) -> None:
  """What the smaller caches ask of the decoder's sizes, said before it is trained."""
  width, heads, kv_heads = (
    int(keywords.get(name, default))
    for name, default in (("width", 128), ("heads", 4), ("kv_heads", 4))
  )
  size = int(keywords.get("head_dim", 0)) or width // heads
  for rank, rotary in latent:
    latent_conversion.check_sizes(width, kv_heads, size, rank, rotary)
  if percents:
    checks.at_least("config.nested.steps", nested["steps"], 1)
    checks.one_of(
      "config.nested.granularity", nested["granularity"], nested_distillation.GRANULARITIES
    )
    nested_distillation.check_levels(size, nested["levels"])
  for percent in percents:
    nested_distillation.check_budget(percent / 100, nested["levels"])


def _latent(sizes: tuple[int, int] | None) -> dict[str, Any]:
  if sizes is None:
    return {}
  return {"attention": "latent", "latent_rank": sizes[0], "rotary_dim": sizes[1]}


def _sizes(text: str) -> list[tuple[int, int]]:
  found = []
  for part in text.split(",") if text else ():
    rank, _, rotary = part.partition("+")
    if not (rank.isdigit() and rotary.isdigit()):
      raise ConfigError(f"'{part}' is no size of a latent; write RANK+ROTARY, e.g. '32+16'.")
    found.append((int(rank), int(rotary)))
  return found
