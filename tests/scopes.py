"""What the tests of the batch scope share: every coupled objective, judged over any mesh.

`python -m tests.scopes OUT COORDINATOR COUNT ID` writes what they are over the devices of several
connected processes, of which this is one.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core import rng
from ibjax.core.numerics import gaussian_log_prob
from ibjax.core.resolver import bind, method_modules, resolve
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.programs.frame import combine
from ibjax.programs.scope import per_part
from ibjax.train.mesh import make_mesh
from tests import estimators

N, VIEWS, CLASSES, WIDTH, PARTS = 32, 2, 3, 4, 8
# A wrapper has a state that moves; of the small critic less is to be compiled.
HYPER = {
  "target_rate": dict(inner=dict(fn="ibjax.objectives.variational.nonlinear_ib:nonlinear_ib")),
  "wasserstein_dependency": dict(sizes=(8,)),
}
# Those whose gradients are looked at in every run of the tests: scalars of pairs and of kernels,
# a determinant, a term that a critic maximises, values per example, a state that moves.
SLOPES = ("info_nce", "hsic_regularizer", "mcr2", "structured_ib", "nonlinear_ib", "target_rate")
# Kernels, matrices of kernels, neighbours, and two critics: all pairs in tiles, or fitted.
ESTIMATORS = ("hsic", "matrix_renyi", "ksg", "info_nce", "mine")
# What is compiled here runs for microseconds: hardly any of it is worth optimising.
COMPILER = {"xla_backend_optimization_level": 0}


def short(name: str) -> str:
  """The method's own name."""
  return name.rpartition(".")[2]


def path(name: str) -> str:
  """How a config names the method."""
  return f"{name}:{short(name)}"


def traced(name: str) -> dict[str, np.ndarray]:
  """The floats among a method's keywords, which a run's program gets as arguments."""
  parameters = inspect.signature(resolve(path(name))).parameters.values()
  defaults = {p.name: p.default for p in parameters if isinstance(p.default, float)}
  return {key: np.float32(value) for key, value in defaults.items()}


@functools.cache
def coupled() -> tuple[str, ...]:
  """Every objective that couples examples, found by discovery."""
  found = []
  for name in method_modules("ibjax.objectives"):
    if hasattr(importlib.import_module(name), "CASES"):
      found += [name] * bind({"fn": path(name), **HYPER.get(short(name), {})}).couples
  return tuple(found)


def sloped() -> tuple[str, ...]:
  """Those of `coupled` whose gradients are looked at in every run of the tests."""
  return tuple(name for name in coupled() if short(name) in SLOPES)


def example() -> tuple[dict[str, Any], dict[str, Any]]:
  """(what is differentiated, the batch): two views of each of N examples, some masked out."""
  random, rows = np.random.default_rng(0), VIEWS * N
  shared = np.tile(random.normal(size=(N, WIDTH)), (VIEWS, 1))
  given = {
    "mean": shared + 0.5 * random.normal(size=(rows, WIDTH)),
    "prediction": random.normal(size=(rows, CLASSES)),
  }
  batch = {
    "x": random.normal(size=(rows, 5)).astype(np.float32),
    "y": np.tile(random.integers(0, CLASSES, N), VIEWS).astype(np.int32),
    # The parts have 4, 3, 4, 2, 4, ... examples that count.
    "mask": np.tile(~np.isin(np.arange(N), (5, 12, 15)), VIEWS),
  }
  return {name: value.astype(np.float32) for name, value in given.items()}, batch


def judge(
  name: str, given: Any, batch: Any, scope: str, mesh: Any, key: Any, hyper: Any, slopes: bool
) -> dict[str, Any]:
  """One objective's {"loss", "minimax", "metrics", "state"} and, if asked for, "gradients"."""
  hyper = {**HYPER.get(short(name), {}), **hyper}
  if scope == "device":
    objective = per_part(path(name), PARTS, mesh, **hyper)
  else:
    objective = bind({"fn": path(name), **hyper})
  spec = ObjectiveSpec(jnp.full(CLASSES, 1 / CLASSES), WIDTH, n_train=10)
  params, state = objective.init(jax.random.key(3), spec)
  more = getattr(importlib.import_module(name), "AUX", {})

  def loss(wanted):
    params, given = wanted
    mean = given["mean"]
    scale = jnp.full_like(mean, -0.5)
    aux = {"mean": mean, "log_scale": scale, "log_prob": gaussian_log_prob(mean, mean, scale)}
    aux |= {key: make(mean) for key, make in more.items()}
    code = Code(mean, jnp.sum(mean**2, -1), None, aux)
    outputs = Outputs(code, given["prediction"], jnp.float32(20.0), views=VIEWS)
    terms = objective.loss(params, state, outputs, batch, key, jnp.int32(0))
    (minimised, minimax), metrics = combine(terms, batch["mask"])
    found = {
      "loss": minimised,
      "minimax": jnp.float32(0.0) if minimax is None else minimax,
      "metrics": {name: total / count for name, (total, count) in metrics.items()},
      "state": terms.state,
    }
    # By another factor than 1, so that a term that changed sides would show.
    return minimised + 0.3 * found["minimax"], found

  if not slopes:
    return loss((params, given))[1]
  gradients, found = jax.grad(loss, has_aux=True)((params, given))
  return {**found, "gradients": {"params": gradients[0], **gradients[1]}}


def over(
  devices: int, scope: str, names: Sequence[str], slopes: bool = False
) -> dict[str, dict[str, Any]]:
  """Judges objectives on the example, spread over the data axis of so many devices."""
  mesh = make_mesh({"population": 1, "data": devices, "model": 1}, jax.devices()[:devices])
  rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))

  def run(given, batch, key, hyper):
    options = (scope, mesh, key)
    return {name: judge(name, given, batch, *options, hyper[name], slopes) for name in names}

  def put(array):
    return jax.make_array_from_callback(array.shape, rows, lambda index: array[index])

  hyper = {name: traced(name) for name in names}
  fn = jax.jit(run, out_shardings=whole, compiler_options=COMPILER)
  return jax.device_get(fn(*jax.tree.map(put, example()), rng.root_key(7), hyper))


def mean_of_parts(names: Sequence[str], slopes: bool = False) -> dict[str, dict[str, Any]]:
  """The same of the mean over parts, one after another on one device: an independent reference."""
  given, batch = example()

  def run(given, batch, key, hyper):
    options = ("global", None, key)
    return {name: judge(name, given, batch, *options, hyper[name], slopes) for name in names}

  hyper = {name: traced(name) for name in names}
  fn = jax.jit(run, compiler_options=COMPILER)
  of_part = np.arange(VIEWS * N).reshape(VIEWS, PARTS, -1).swapaxes(0, 1).reshape(PARTS, -1)
  count = np.array([batch["mask"][rows].sum() for rows in of_part], np.float32)
  total: Any = None
  for part, (rows, share) in enumerate(zip(of_part, count / count.sum())):
    own = jax.tree.map(lambda leaf, rows=rows: leaf[rows], (given, batch))
    found = jax.device_get(fn(*own, rng.stream(rng.root_key(7), "part", part), hyper))
    for one in found.values():
      for name in given if slopes else ():  # the slopes by a part's rows, where these belong
        placed = np.zeros_like(given[name])
        placed[rows] = one["gradients"][name]
        one["gradients"][name] = placed
    found = jax.tree.map(lambda leaf, share=share: share * leaf, found)
    total = found if total is None else jax.tree.map(np.add, total, found)
  return total


def summaries(found: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
  """What another process compares: of each objective the sums and norms of all that was found."""

  def told(tree):
    arrays = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree))
    return [float(x) for a in arrays if np.isfinite(a).all() for x in (a.sum(), (a**2).sum())]

  return {short(name): told(one) for name, one in found.items()}


def estimates() -> dict[str, float]:
  """Values of estimators that couple samples, over all devices there are."""
  chosen = [name for name in estimators.METHODS if short(name) in ESTIMATORS]
  made = ((name, estimators.built(name, estimators.tiny(name))) for name in chosen)
  return {short(name): estimators.nats(one, estimators.draw(one)) for name, one in made}


def both_scopes() -> dict[str, dict[str, list[float]]]:
  """Summaries of values of all objectives, and of gradients of some, over all parts' devices."""
  told = {}
  for scope in ("global", "device"):
    told[scope] = summaries(over(PARTS, scope, coupled()))
    told[f"{scope}, gradients"] = summaries(over(PARTS, scope, sloped(), slopes=True))
  return told


if __name__ == "__main__":
  out, coordinator, count, number = sys.argv[1:]
  jax.distributed.initialize(coordinator, int(count), int(number))
  told = {"devices": len(jax.devices()), "processes": jax.process_count()}
  told |= {"values": both_scopes(), "estimates": estimates()}
  if jax.process_index() == 0:
    pathlib.Path(out).write_text(json.dumps(told), encoding="utf-8")
