"""What is tracked of a language model while it trains: its queries and keys, and its last layer.

Measured at the steps of `config.plane`, of the weights that evaluation uses, and kept in plane.npz
and the run's row. It costs nothing between those steps and changes no number of the training.

Source: of the spectrum, arXiv:2507.09394 and Martin and Mahoney 2021 (arXiv:1810.01075); of the
last layer, Godey et al. 2024 (arXiv:2404.07647).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.types import Batch, DataSpec, TrainState
from ibjax.evaluators import spectrum
from ibjax.evaluators.softmax_bottleneck import anisotropy, matrix_rank, singular_entropy
from ibjax.exact.marchenko_pastur import Null, noise, product_noise
from ibjax.models.capture import recording
from ibjax.programs.plane import Examples, Plane
from ibjax.programs.tokens import parts, read, site_shapes

Array = jax.Array

TOKENS = 2048  # of which hidden states and logits are looked at
MOST_EXAMPLES = 4096


def language_plane(config: Mapping[str, Any], spec: DataSpec) -> Plane:
  """Builds what is tracked of a run of `ibjax.programs.language`.

  Per layer l, means over its heads: "query_key/block_l/..." of W_Q W_K^T, beside the simulated
  product of two matrices of noise; "query/block_l/..." of W_Q, beside the Marchenko-Pastur law;
  and "key/block_l/..." of W_K, or of what latent attention makes keys of. Each has what
  `ibjax.evaluators.spectrum.measures` gives.

  Of the last layer: "head/singular_entropy/nats"; and of its hidden states, over 2,048 tokens of
  `config.plane.splits` at most: "head/anisotropy", "head/hidden_rank", "head/logit_rank" and
  "head/log_prob_rank".

  Use it to see when structure leaves the bulk of noise, and whether a narrow model degenerates
  late: `ibjax.evaluators.softmax_bottleneck.saturation` of the losses says whether it did.

  Args:
    config: the resolved config; of its section "plane": points, steps, splits and examples.
    spec: the data's description.

  Returns:
    A `Plane` without layers whose information is estimated.

  Raises:
    ConfigError: another program, or a number of examples whose states do not fit in memory.

  Example:
    >>> measured = language_plane(config, spec)  # doctest: +SKIP

  Source: Marchenko and Pastur 1967; Godey et al. 2024 (arXiv:2404.07647), sections 3 and 4.
  """
  _check(config)
  shapes = site_shapes(config, spec)
  nulls: dict[tuple[int, ...], tuple[Null, Null, Null]] = {}

  def weights(state: TrainState) -> Any:
    return state.params if config["train"]["ema"] is None else state.ema

  def activations(state: TrainState, batch: Batch, number: Array, hyper: Any) -> dict[str, Array]:
    built = parts(config, spec, hyper, shapes)
    key = rng.stream(rng.root_key(hyper["seed"]), "plane", state.step, number)
    with recording() as record:
      logits, _, _ = read(built, weights(state), state.states, batch["x"], key, train=False)
    hidden = record["norm.out"].astype(jnp.float32)
    return {name: x.reshape(x.shape[0], -1) for name, x in (("hidden", hidden), ("logits", logits))}

  def ranks(state: TrainState, batch: Batch, number: Array, hyper: Any) -> dict[str, Array]:
    del batch, number, hyper
    params, values = weights(state)["decoder"], {}
    for name in sorted(params):
      if name.startswith("block_"):
        for matrix, found in _spectra(params[name]["attention"], config, nulls).items():
          values.update({f"{matrix}/{name}/{what}": value for what, value in found.items()})
    head = params["head"]["kernel"] if "head" in params else params["embed"]["embedding"]
    values["head/singular_entropy/nats"] = singular_entropy(head)
    return values

  def estimates(found: Mapping[str, np.ndarray], examples: Examples) -> dict[str, float]:
    counts = (examples.y >= 0).ravel()
    rows = {
      name: value.reshape(counts.size, -1)[counts][:TOKENS].astype(np.float32)
      for name, value in found.items()
    }
    return {
      "head/anisotropy": anisotropy(rows["hidden"]),
      "head/hidden_rank": float(matrix_rank(rows["hidden"])),
      "head/logit_rank": float(matrix_rank(rows["logits"])),
      "head/log_prob_rank": float(matrix_rank(_log_softmax(rows["logits"]))),
    }

  return Plane((), activations, None, ranks, estimates)


def _check(config: Mapping[str, Any]) -> None:
  if not config["program"].endswith(":language"):
    raise ConfigError(
      f"language_plane looks into a language model, and config.program='{config['program']}'. Use "
      "config.plane.fn='ibjax.programs.plane:plane'."
    )
  if not 1 <= config["plane"]["examples"] <= MOST_EXAMPLES:
    raise ConfigError(
      f"config.plane.examples={config['plane']['examples']} must lie in 1..{MOST_EXAMPLES}: the "
      f"hidden states of all their tokens are kept at once. {TOKENS:,} tokens are looked at."
    )
  if config["plane"]["rank_examples"] < 1:
    raise ConfigError("config.plane.rank_examples=0 turns the spectra off; leave it at 1 or more.")
  if config["train"]["remat"]:
    raise ConfigError("config.plane looks into the layers, which config.train.remat=True hides.")


def _spectra(
  attention: Mapping[str, Any], config: Mapping[str, Any], nulls: dict[Any, Any]
) -> dict[str, dict[str, Array]]:
  """The measures of one layer, means over its heads."""
  latent = "up_key" in attention
  width = attention["query"]["kernel"].shape[0]
  heads = int(config["decoder"].get("heads", 4))
  query, key = spectrum.query_key(attention, attention["query"]["kernel"].shape[1] // heads)
  rank, rotary = 0, 0
  if latent:
    rank, rotary = attention["up_key"].shape[0], attention["rotary_key"]["kernel"].shape[1]
  shape = (width, query.shape[-1], rank, rotary)
  if shape not in nulls:
    nulls[shape] = (
      product_noise(width, query.shape[-1], rank, rotary),
      noise(*sorted((query.shape[-1], width))),
      noise(*sorted((rank or query.shape[-1], width))),
    )
  product, own, shared = nulls[shape]
  count = min(query.shape[-1], rank + rotary) if latent else query.shape[-1]
  keys = attention["down"]["kernel"][None] if latent else key

  def products(q: Array, k: Array) -> dict[str, Array]:
    return spectrum.measures(spectrum.product_eigenvalues(q, k)[-count:], product)

  def factors(null: Null) -> Any:
    return jax.vmap(lambda matrix: spectrum.measures(spectrum.eigenvalues(matrix), null))

  found = {
    "query_key": jax.vmap(products)(query, key),
    "query": factors(own)(query),
    "key": factors(shared)(keys),
  }
  return jax.tree.map(jnp.mean, found)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  wide = logits.astype(np.float64)
  wide -= wide.max(axis=1, keepdims=True)
  return (wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))).astype(np.float32)
