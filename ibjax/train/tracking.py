"""Measuring the information plane of a run, or of all members of a population, at its steps."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.core.types import TrainState
from ibjax.data import feed, order
from ibjax.data.source import Split
from ibjax.programs.plane import due, examples, limits
from ibjax.train.setup import Setup


class Tracking:
  """What is due when, and the compiled functions that measure it.

  The inputs of the plane, the mini-batches of the gradients and the examples of the ranks are the
  same at every step and for every member, whatever its seed.

  Attributes:
    steps: the steps at which the plane is measured, in order; () when it is off.
    about: what holds at all steps: "layers", the names of layer_1, layer_2, ..., and what bounds
      the plane, see `ibjax.programs.plane.limits`.

  Args:
    setup: what is trained.
  """

  def __init__(self, setup: Setup):
    self.steps = due(setup.config, setup.spec.total_steps)
    self.about: dict[str, np.ndarray] = {}
    if not self.steps:
      return
    assert setup.plane is not None  # built whenever there are steps
    asked = setup.config["plane"]
    self._setup, self._plane = setup, setup.plane
    observe = setup.runner.observe
    self._activations = observe(self._plane.activations)
    self._gradients = observe(self._plane.gradients) if self._plane.gradients else None
    self._ranks = jax.jit(self._plane.ranks) if self._plane.ranks else None
    self._whole = observe(lambda state, batch, number, hyper: state)
    x, y = _inputs(setup, asked["splits"], asked["examples"])
    self._examples = examples(x, y)
    self.about = {"layers": np.array(setup.plane.layers), **limits(setup.config, self._examples)}
    self._feed = feed.EvalFeed(
      _split(x, y),
      setup.mesh,
      batch_size=setup.config["eval"]["batch_size"],
      resident=setup.resident,
    )
    train = setup.splits["train"]
    shuffled = order.permutation(0, 0, train.n)
    if self._plane.gradients:
      count, size = asked["gradient_batches"], setup.config["data"]["batch_size"]
      rows = shuffled[: count * size]
      found = train.read(rows.astype(np.int64))
      everywhere = NamedSharding(setup.mesh, PartitionSpec())
      self._batches = {
        name: feed.place(value.reshape(count, size, *value.shape[1:]), everywhere)
        for name, value in found.items()
      }
    if self._plane.ranks:
      rows = np.sort(shuffled[: asked["rank_examples"]]).astype(np.int64)
      self._ranked = train.read(rows)

  def measure(self, state: TrainState) -> list[dict[str, float]]:
    """Measures a state.

    Args:
      state: a run's state, or a population's.

    Returns:
      Name -> value of each member; of a run, a list of one.
    """
    setup = self._setup
    members = setup.hyper["seed"].ndim
    parts: list[dict[str, np.ndarray]] = []
    for number, batch in enumerate(self._feed):
      found = self._activations(state, batch, np.int32(number), setup.hyper)
      host = setup.runner.read(found)
      parts.append({n: self._feed.trim(number, value, members) for n, value in host.items()})
    layers = {name: np.concatenate([part[name] for part in parts], members) for name in parts[0]}
    scalars: dict[str, Any] = {}
    if self._gradients is not None:
      found = self._gradients(state, self._batches, np.int32(0), setup.hyper)
      scalars = setup.runner.read(found)
    if not members:
      layers = {name: value[None] for name, value in layers.items()}
      scalars = {name: value[None] for name, value in scalars.items()}
    ranks = self._rank(state)
    return [
      {
        **self._plane.estimates({n: v[i] for n, v in layers.items()}, self._examples),
        **{name: float(value[i]) for name, value in scalars.items()},
        **ranks[i],
      }
      for i in range(len(setup.configs))
    ]

  def _rank(self, state: TrainState) -> list[dict[str, float]]:
    """Ranks each member's Jacobians on one device, one member after another.

    Singular values on several devices of a CPU at a time wait for each other's threads for ever.
    """
    setup = self._setup
    count = len(setup.configs)
    if self._ranks is None:
      return [{}] * count
    whole = setup.runner.read(self._whole(state, {}, np.int32(0), setup.hyper))
    hyper: Any = setup.hyper
    if not setup.hyper["seed"].ndim:
      whole, hyper = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (whole, hyper))
    found = []
    for i in range(count):
      own, values = jax.tree.map(lambda leaf, i=i: leaf[i], (whole, hyper))
      ranks = jax.device_get(self._ranks(own, self._ranked, np.int32(0), values))
      found.append({name: float(value) for name, value in ranks.items()})
    return found


def _inputs(setup: Setup, splits: Any, most: int) -> tuple[np.ndarray, np.ndarray]:
  """The inputs of the plane: whole splits one after another, or `most` of their examples."""
  read = [feed.read_all(setup.splits[name]) for name in splits]
  x, y = (np.concatenate([part[name] for part in read]) for name in ("x", "y"))
  if most and most < len(x):
    rows = np.sort(order.permutation(0, 0, len(x))[:most])
    x, y = x[rows], y[rows]
  return x, y


def _split(x: np.ndarray, y: np.ndarray) -> Split:
  def read(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": x[rows], "y": y[rows]}

  return Split(n=len(x), read=read, nbytes=x.nbytes + y.nbytes)
