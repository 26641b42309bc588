"""What a trained language model can be asked: to read and to go on, with codes set by hand."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError, unknown
from ibjax.core.resolver import resolve
from ibjax.core.types import DataSpec, TrainState
from ibjax.models.generation import at_temperature, generate
from ibjax.models.sites import replacing
from ibjax.programs import hyper as hyper_lib
from ibjax.programs.tokens import Parts, heads_of, parts, site_key

Array = jax.Array


def functions(
  config: Mapping[str, Any], spec: DataSpec, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Callable[..., Any]]:
  """Makes "read" and "generate" of a language program.

  `read(state, hyper, tokens [n, t], on={}, off={}, refill=True) -> {"logits" [n, t, c], "indices":
  {site: [n, t, heads, k]}}`. `generate(state, hyper, prompt [n, p], length, seed=0,
  temperature=1.0, on={}, off={}, refill=True) -> tokens [n, length]`. Both are on host arrays;
  sites are named as in the tree of parameters, e.g. "block_0.mlp". `on` sets codes: site -> [n, t,
  heads, m] int32 (t = length to generate), -1 where none is set; `off` switches codes off
  everywhere: site -> [heads, codes] bool. A bottleneck whose file has no `intervention` takes part
  in neither, and gives no indices.

  Args:
    config: the resolved config.
    spec: the data's description.
    shapes: of the sites, see `ibjax.programs.tokens.site_shapes`.

  Returns:
    Name -> function. They raise InputError for a site that is none, codes of another shape or
    that the codebook lacks, and a negative temperature.

  Raises:
    ConfigError: a keyword of the bottleneck that does not fit.
  """
  section = hyper_lib.section(config, "bottleneck", {})
  module = resolve(section["fn"]).__module__
  makers = {}
  if shapes and _offers(module):
    given = {name: value for name, value in section.items() if name != "fn"}
    make = resolve(f"{module}:intervention")
    makers = {
      path: make(**given, dim=int(np.prod(shape[2:])), **heads_of(shape))
      for path, shape in shapes.items()
    }

  def surrounding(built: Parts, weights, states, on, off, refill, found):
    def through(path):
      name, bottleneck = site_key(path), built.sites[path]
      params = weights["bottleneck"][name]

      def replace(out):
        features = out.reshape(-1, bottleneck.features)
        if path in makers:
          set_on = on[name].reshape(features.shape[0], *on[name].shape[2:])
          value, indices = makers[path](params, features, set_on, off[name], refill)
          found[name] = indices.reshape(*out.shape[:2], *indices.shape[1:])
        else:
          code, _ = bottleneck.apply(
            params, states["bottleneck"][name], features, key=rng.root_key(0), train=False
          )
          value = code.value
        return value.reshape(out.shape).astype(out.dtype)

      return replace

    return replacing({path: through(path) for path in shapes})

  def filled(weights, on, off, n: int, t: int):
    """All sites' codes that are on and off, in one shape, so that one program serves any choice."""
    on, off = on or {}, off or {}
    known = tuple(site_key(path) for path in makers)
    for name in (*on, *off):
      if name not in known:
        raise InputError(unknown("site with codes to set", name, known))
    m, all_on, all_off = max([1, *(np.shape(codes)[-1] for codes in on.values())]), {}, {}
    for name in known:
      heads, codes = weights["bottleneck"][name]["codebook"].shape[:2]
      all_on[name] = np.full((n, t, heads, m), -1, np.int32)
      if name in on:
        checks.shape(f"the codes on at {name}", on[name], (n, t, heads, None))
        all_on[name][..., : np.shape(on[name])[-1]] = on[name]
        if all_on[name].min() < -1 or all_on[name].max() >= codes:
          raise InputError(
            f"the codes on at {name} lie in {all_on[name].min()}..{all_on[name].max()}, expected "
            f"0..{codes - 1}, or -1 where none is set."
          )
      all_off[name] = np.asarray(off.get(name, np.zeros((heads, codes), bool)))
      checks.shape(f"the codes off at {name}", all_off[name], (heads, codes))
    return all_on, all_off

  def weights_of(state: TrainState):
    return state.params if config["train"]["ema"] is None else state.ema

  @functools.partial(jax.jit, static_argnames="refill")
  def reading(weights, states, hyper, tokens, on, off, refill):
    built = parts(config, spec, hyper, shapes)
    found: dict[str, Array] = {}
    with surrounding(built, weights, states, on, off, refill, found):
      logits, _ = built.model.apply(
        weights["decoder"], states["decoder"], tokens, key=rng.root_key(0), train=False
      )
    return {"logits": logits.astype(jnp.float32), "indices": found}

  @functools.partial(jax.jit, static_argnames=("length", "greedy", "refill"))
  def generating(
    weights, states, hyper, prompt, length, seed, temperature, greedy, on, off, refill
  ):
    built = parts(config, spec, hyper, shapes)

    def within(position, call):
      here = {
        name: jax.lax.dynamic_slice_in_dim(codes, position, 1, axis=1) for name, codes in on.items()
      }
      with surrounding(built, weights, states, here, off, refill, {}):
        return call()

    choose = at_temperature(0.0 if greedy else temperature)
    key = rng.stream(rng.root_key(seed), "generate")
    return generate(built.model, weights["decoder"], prompt, length, key, choose, within)

  def read(state, hyper, tokens, on=None, off=None, refill=True):
    weights, tokens = weights_of(state), jnp.asarray(tokens)
    on, off = filled(weights, on, off, *tokens.shape)
    found = reading(weights, state.states, hyper, tokens, on, off, refill)
    return jax.device_get(found)

  def go_on(state, hyper, prompt, length, seed=0, temperature=1.0, on=None, off=None, refill=True):
    checks.at_least("temperature", temperature, 0.0)
    weights, greedy = weights_of(state), temperature == 0
    on, off = filled(weights, on, off, len(prompt), length)
    drawn = generating(
      weights,
      state.states,
      hyper,
      jnp.asarray(prompt, jnp.int32),
      length,
      seed,
      jnp.float32(temperature if temperature else 1.0),
      greedy,
      on,
      off,
      refill,
    )
    return np.asarray(drawn)

  return {"read": read, "generate": go_on}


def _offers(module: str) -> bool:
  return hasattr(importlib.import_module(module), "intervention")
