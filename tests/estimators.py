"""What the tests of estimators share: the methods there are, samples any of them can take."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np

from ibjax.core.resolver import method_modules
from ibjax.estimators.base import samples
from ibjax.estimators.base.contract import Estimator

METHODS = tuple(
  name
  for name in method_modules("ibjax.estimators")
  if name.split(".")[2] != "base"
  and importlib.util.find_spec(name).submodule_search_locations is None
)
N = 61  # a prime: no block and no number of devices divides it
BLOCK = 11
BOUNDED = ("recommended",)  # its block is also the K of a bound, so it does change the value
FITTED = ("variational", "compression", "combined")
CHOOSERS = ("recommended",)  # it may choose a candidate that draws nothing
_BUILT: dict[str, Estimator] = {}
_COMPILED: dict[int, Estimator] = {}


def short(name: str) -> str:
  """The method's own name: "ksg" of "ibjax.estimators.neighbours.ksg"."""
  return name.rpartition(".")[2]


def module(name: str) -> ModuleType:
  """The method's module."""
  return importlib.import_module(name)


def factory(name: str) -> Any:
  """The method's factory."""
  return getattr(module(name), short(name))


def built(name: str, hyper: Mapping[str, Any] | None = None) -> Estimator:
  """An estimator, built once, so that what it compiles is compiled once."""
  key = f"{name} {sorted((hyper or {}).items())}"
  if key not in _BUILT:
    _BUILT[key] = factory(name)(**(hyper or {}))
  return _BUILT[key]


def tiny(name: str) -> dict[str, Any]:
  """Hyperparameters of a small budget: `TINY` of the module, or those of its first case."""
  return dict(getattr(module(name), "TINY", module(name).CASES[0].hyper))


def claimed(name: str) -> dict[str, Any]:
  """Hyperparameters whose claims are tested: the defaults, or a small budget of what is fitted."""
  return tiny(name) if fitted(name) else {}


def fitted(name: str) -> bool:
  """Whether the method trains something, so that each shape of samples is a long compilation."""
  return name.split(".")[2] in FITTED


def small_blocks(name: str) -> dict[str, Any] | None:
  """The same with blocks that do not divide the samples; None where there are no blocks."""
  if "block_size" not in inspect.signature(factory(name)).parameters or short(name) in BOUNDED:
    return None
  return {**tiny(name), "block_size": BLOCK}


def draw(estimator: Estimator, n: int = N, d: int = 2) -> tuple[Any, Any, Any]:
  """Dependent x, y and z of the kinds the estimator takes; those it may lack are there."""
  rng = np.random.default_rng(0)
  z = rng.normal(size=(n, d))
  x = rng.normal(size=(n, d)) + 0.3 * z
  y = 0.8 * x + 0.6 * rng.normal(size=(n, d)) + 0.3 * z
  return tuple(
    _as(kind.removesuffix("?"), values)
    for kind, values in ((estimator.x, x), (estimator.y, y), (estimator.z, z))
  )


def _as(kind: str, values: np.ndarray) -> np.ndarray | None:
  if kind == "none":
    return None
  if kind == "labels":
    return np.argsort(np.argsort(values[:, 0])) * 3 // len(values)
  return values


def compiled(estimator: Estimator) -> Estimator:
  """The same estimator, its value one program for each shape, where it can be compiled."""
  if not estimator.jittable:
    return estimator
  if id(estimator) not in _COMPILED:
    _COMPILED[id(estimator)] = dataclasses.replace(estimator, value=jax.jit(estimator.value))
  return _COMPILED[id(estimator)]


def nats(estimator: Estimator, given: tuple[Any, Any, Any], seed: int = 0) -> float:
  """The value alone, compiled where it can be."""
  checked, _ = samples.check(estimator, *given)
  return float(compiled(estimator).value(*checked, jax.random.key(seed)).nats)


def values() -> dict[str, float]:
  """Every method's value of the same samples, for another process to compare."""
  found = {}
  for name in METHODS:
    estimator = built(name, small_blocks(name) or tiny(name))
    found[name] = nats(estimator, draw(estimator))
  return found


if __name__ == "__main__":
  json.dump({"devices": len(jax.devices()), "values": values()}, sys.stdout)
