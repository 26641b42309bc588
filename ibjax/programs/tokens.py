"""A language model on its way through a batch of tokens, with bottlenecks at chosen layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import ConfigError
from ibjax.core.resolver import bind
from ibjax.core.types import Bottleneck, Code, DataSpec, Objective, Tree
from ibjax.models.capture import recording
from ibjax.models.sites import matching, replacing
from ibjax.programs import hyper as hyper_lib

Array = jax.Array


class Parts(NamedTuple):
  """What a language model of a run is made of.

  Attributes:
    model: the decoder, an `ibjax.models.decoder.LanguageModel`.
    sites: path of a layer -> the bottleneck that its output goes through.
    objective: what is minimised.
  """

  model: Any
  sites: dict[str, Bottleneck]
  objective: Objective


def parts(
  config: Mapping[str, Any], spec: DataSpec, hyper: Mapping[str, Any], shapes: Mapping[str, Any]
) -> Parts:
  """Builds decoder, bottlenecks and objective from the config's sections.

  Args:
    config: the resolved config.
    spec: the data's description.
    hyper: traced hyperparameters; {} takes the config's own numbers.
    shapes: path -> shape of what the layer gives out, of every site; see `site_shapes`.

  Returns:
    The parts. A site whose layer gives [n, t, heads, d] has a bottleneck of `heads` heads.

  Raises:
    ConfigError: a section sets what follows from data or layer, or a factory's name, keyword, type
      or range is wrong.
  """
  section = hyper_lib.section(config, "bottleneck", hyper)
  if "dim" in section or "heads" in section:
    raise ConfigError(
      "config.bottleneck sets 'dim' or 'heads', which follow from the layers of config.sites. "
      "Remove them."
    )
  sites = {}
  for path, shape in shapes.items():
    sites[path] = bind(section, dim=math.prod(shape[2:]), **heads_of(shape))
  objective = bind(hyper_lib.section(config, "objective", hyper))
  return Parts(_model(config, spec, hyper), sites, objective)


def site_shapes(config: Mapping[str, Any], spec: DataSpec) -> dict[str, tuple[int, ...]]:
  """Finds the layers that `config.sites` names, in the order in which they are called.

  Args:
    config: the resolved config.
    spec: the data's description.

  Returns:
    Path -> shape of the layer's output for one example.

  Raises:
    ConfigError: a pattern that matches no layer, or a layer whose output is no activation.
  """
  if not config["sites"]:
    return {}
  model, found = _model(config, spec, {}), {}

  def look() -> None:
    with recording() as record:
      model.init(rng.root_key(0), jnp.zeros((1, *spec.x_shape), jnp.int32))
    found.update({name[:-4]: x.shape for name, x in record.items() if name.endswith(".out")})

  jax.eval_shape(look)
  chosen = matching(tuple(config["sites"]), tuple(name for name in found if name))
  for name in chosen:
    if len(found[name]) not in (3, 4):
      raise ConfigError(
        f"config.sites: the layer {name} gives {list(found[name])}; a site needs activations "
        "[n, t, width] or [n, t, heads, width]."
      )
  return {name: found[name] for name in chosen}


def init_parts(built: Parts, spec: DataSpec, key: Array) -> tuple[Tree, Tree]:
  """Initial parameters and states of decoder and bottlenecks.

  Args:
    built: the parts.
    spec: the data's description.
    key: a typed key.

  Returns:
    (params, states), each {"decoder", "bottleneck": {site: ...}}.
  """
  tokens = jnp.zeros((1, *spec.x_shape), jnp.int32)
  params, states = {}, {}
  params["decoder"], states["decoder"] = built.model.init(rng.stream(key, "decoder"), tokens)
  started = {
    site_key(path): bottleneck.init(rng.stream(key, f"bottleneck/{path}"))
    for path, bottleneck in built.sites.items()
  }
  params["bottleneck"] = {name: one[0] for name, one in started.items()}
  states["bottleneck"] = {name: one[1] for name, one in started.items()}
  return params, states


def read(
  built: Parts, params: Tree, states: Tree, tokens: Array, key: Array, *, train: bool
) -> tuple[Array, dict[str, Code], Tree]:
  """Sends tokens through the decoder, and the outputs of its sites through their bottlenecks.

  Args:
    built: the parts.
    params: {"decoder", "bottleneck", ...}.
    states: the same names.
    tokens: [n, t] integers.
    key: of the noise.
    train: whether noise and statistics are those of training.

  Returns:
    (logits [n, t, c] float32, path of a site -> the code of its n t activations, new states).
  """
  codes: dict[str, Code] = {}
  new = dict(states["bottleneck"])

  def through(path, bottleneck):
    name = site_key(path)

    def replace(out):
      code, new[name] = bottleneck.apply(
        params["bottleneck"][name],
        new[name],
        out.reshape(-1, bottleneck.features),
        key=rng.stream(key, f"bottleneck/{path}"),
        train=train,
      )
      codes[path] = code
      return code.value.reshape(out.shape).astype(out.dtype)

    return replace

  with replacing({path: through(path, one) for path, one in built.sites.items()}):
    logits, decoder = built.model.apply(
      params["decoder"], states["decoder"], tokens, key=rng.stream(key, "decoder"), train=train
    )
  return logits.astype(jnp.float32), codes, {**states, "decoder": decoder, "bottleneck": new}


def features_of(
  built: Parts, params: Tree, states: Tree, tokens: Array, key: Array
) -> dict[str, Array]:
  """What enters the bottlenecks of all sites, in training mode.

  Args:
    built: the parts.
    params: {"decoder", "bottleneck", ...}.
    states: the same names.
    tokens: [n, t] integers.
    key: of the noise.

  Returns:
    Path of a site -> [n t, width].
  """
  found: dict[str, Array] = {}

  def watched(path, bottleneck):
    def apply(params, state, features, **options):
      found[path] = features
      return bottleneck.apply(params, state, features, **options)

    return bottleneck._replace(apply=apply)

  watching = built._replace(sites={path: watched(path, b) for path, b in built.sites.items()})
  read(watching, params, states, tokens, key, train=True)
  return found


def joined(codes: Mapping[str, Code], rows: int) -> Code:
  """What all sites let through of each token, as one code.

  Args:
    codes: of the sites.
    rows: n t.

  Returns:
    A `Code`: values side by side; rates and bits summed over the sites, None where one has none;
    of the aux, the floats that every site has per token, summed.
  """
  if not codes:
    return Code(jnp.zeros((rows, 0)), None, None, {})
  all_codes = list(codes.values())

  def total(values):
    return None if any(value is None for value in values) else sum(values[1:], values[0])

  shared = set.intersection(*(set(code.aux) for code in all_codes))
  per_token = {
    name
    for name in shared
    if all(
      code.aux[name].shape == (rows,) and jnp.issubdtype(code.aux[name].dtype, jnp.floating)
      for code in all_codes
    )
  }
  return Code(
    jnp.concatenate([code.value for code in all_codes], axis=-1),
    total([code.rate for code in all_codes]),
    total([code.bits for code in all_codes]),
    {name: total([code.aux[name] for code in all_codes]) for name in sorted(per_token)},
  )


def heads_of(shape: tuple[int, ...]) -> dict[str, int]:
  """What a bottleneck is told of the heads of its layer.

  Args:
    shape: of the layer's output.

  Returns:
    {"heads": n} of [n, t, heads, d]; {} of [n, t, width].
  """
  return {"heads": shape[2]} if len(shape) == 4 else {}


def site_key(path: str) -> str:
  """The name of a site in the tree of parameters, where slashes part levels.

  Args:
    path: of the layer, e.g. "block_0/mlp".

  Returns:
    E.g. "block_0.mlp".
  """
  return path.replace("/", ".")


def _model(config: Mapping[str, Any], spec: DataSpec, hyper: Mapping[str, Any]) -> Any:
  section = hyper_lib.section(config, "decoder", hyper)
  if "out" in section or "dtype" in section:
    raise ConfigError(
      "config.decoder sets 'out' or 'dtype'; the tokens follow from the data, the type from "
      "config.train.compute_dtype. Remove them."
    )
  return bind(section, out=spec.num_classes, dtype=config["train"]["compute_dtype"])
