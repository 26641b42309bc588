"""Sparse sums of known directions: planted:superposition:dim=64; hierarchy, correlation."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint, options
from ibjax.data.source import Arrays, Source, Split

_COMMON: dict[str, float] = dict(
  features=128, dim=64, l0=4.0, low=0.0, noise=0.0, n=65536, n_test=8192, seed=0, world=0
)
# Kind -> what an argument may set, with its default. Integers stay integers.
DEFAULTS: dict[str, dict[str, float]] = {
  "superposition": dict(_COMMON),
  "hierarchy": dict(_COMMON, children=3, follow=0.5),
  "correlation": dict(_COMMON, zipf=0.5, rank=8, rho=0.25),
}
_BLOCK = 4096  # rows drawn together


class Truth(NamedTuple):
  """What the activations of a planted source are made of.

  Attributes:
    dictionary: [features, dim] float32, rows of length one.
    parent: [features] int32, the feature that is active whenever this one is; -1 for none.
    probability: [features] float64, how often each is active.
    l0: mean number of active features of an example.
  """

  dictionary: np.ndarray
  parent: np.ndarray
  probability: np.ndarray
  l0: float


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws x = sum_i a_i d_i + noise with few active features; y is the activations a.

  The directions d_i are uniform on the unit sphere of R^dim; an active feature has a_i uniform on
  [low, 1]. With fewer dimensions than features the directions are in superposition.

  "superposition": every feature is active with probability l0 / features, independently: the
  inputs of the toy model of superposition, seen through a random embedding.

  "hierarchy": each parent has `children`; with probability `follow` an active parent has exactly
  one active child, each as likely; a child is never active without its parent. Feature p (1 +
  children) is a parent and those after it are its children. A dictionary that gives the child the
  parent's direction too ("absorption") needs fewer active latents.

  "correlation": feature i is active with probability proportional to (i + 1)^-zipf (sum l0), and
  whether it is follows from correlated Gaussians: g = sqrt(rho) U v + sqrt(1 - rho) e, active when
  g_i is in its upper tail of that probability, with rows of U [features, rank] of length one.

  The test split is the same for every seed; `world` numbers the draw of the directions and of U.

  To train a sparse autoencoder, name autoencode:planted:...; planted:... itself is a regression
  onto the true activations. `truth` gives the dictionary.

  Args:
    argument: "KIND" or "KIND:key=value,...". All kinds have features, dim, l0, low, noise
      (standard deviation on each coordinate of x), n, n_test, seed and world; "hierarchy" has
      children and follow, "correlation" zipf, rank and rho.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of targets: x [n, dim] float32, y [n, features] float32.

  Raises:
    ConfigError: an unknown kind or key, a value out of range, features that do not divide into
      families, a feature that would be active more often than always.

  Source: Elhage et al. 2022, "Toy models of superposition" (the inputs); hierarchy, Zipf
  frequencies and low-rank correlation are the properties that SynthSAEBench plants, in a simple
  form of our own.
  """
  del data_dir
  kind, values = _parse(argument)
  planted = _truth(kind, values)
  train, test = (
    _split(kind, {**values, "n": values[size]}, planted, [int(seed), stream])
    for size, seed, stream in (("n", values["seed"], 0), ("n_test", 0, 1))
  )
  told = {key: repr(value) for key, value in values.items()}
  return Source(
    name=f"planted:{argument}",
    splits={"train": train, "test": test},
    x_shape=(int(values["dim"]),),
    x_dtype=np.dtype(np.float32),
    num_classes=0,
    class_names=(),
    # Of the parameters, as of every synthetic source: rounding differs between machines.
    fingerprint=fingerprint.combine({"planted": "1", "kind": kind, **told}),
    train_labels=np.zeros(0, np.int32),
    target_dim=int(values["features"]),
  )


def argument_of(source: str) -> str:
  """Finds the planted source in the name of one that is made of it.

  Args:
    source: as a config names it, e.g. "autoencode:planted:hierarchy".

  Returns:
    What follows "planted:".

  Raises:
    ConfigError: there is no planted source in it, so there is no known dictionary.
  """
  before, found, argument = f":{source}".partition(":planted:")
  if not found or before.strip(":") not in ("", "autoencode"):
    raise ConfigError(
      f"'{source}' has no known dictionary; recovery is measured on planted:KIND or "
      "autoencode:planted:KIND (`ibjax data list`)."
    )
  return argument


def truth(argument: str) -> Truth:
  """Returns the dictionary that a planted source is made of.

  Args:
    argument: what follows "planted:" in its name.

  Returns:
    A `Truth`.

  Raises:
    ConfigError: as `load`.

  Example:
    >>> from ibjax.data.sources.planted import truth
    >>> truth("superposition:features=8,dim=4,l0=2").dictionary.shape
    (8, 4)
  """
  return _truth(*_parse(argument))


def _truth(kind: str, values: Mapping[str, float]) -> Truth:
  features, dim = int(values["features"]), int(values["dim"])
  directions = np.random.default_rng([int(values["world"]), 2]).normal(size=(features, dim))
  directions /= np.linalg.norm(directions, axis=1, keepdims=True)
  parent = np.full(features, -1, np.int32)
  probability = np.full(features, values["l0"] / features)
  if kind == "hierarchy":
    family = 1 + int(values["children"])
    number = np.arange(features)
    of = number // family * family
    parent = np.where(number == of, -1, of).astype(np.int32)
    root = values["l0"] / (features // family * (1.0 + values["follow"]))
    child = root * values["follow"] / max(family - 1, 1)
    probability = np.where(parent < 0, root, child)
  elif kind == "correlation":
    weight = np.arange(1, features + 1) ** -float(values["zipf"])
    probability = values["l0"] * weight / weight.sum()
  if probability.max() > 1.0:
    raise ConfigError(
      f"planted:{kind}: l0={values['l0']:g} would make a feature active with probability "
      f"{probability.max():.3g}. Use a smaller l0, or more features."
    )
  return Truth(directions.astype(np.float32), parent, probability, float(probability.sum()))


def _split(kind: str, values: Mapping[str, float], planted: Truth, seed: list[int]) -> Split:
  rng = np.random.default_rng(seed)
  x = np.empty((int(values["n"]), int(values["dim"])), np.float32)
  parts = []
  for first, rows in _blocks(int(values["n"])):
    active = _active(rng, kind, rows, values, planted)
    # Kept sparse: with thousands of features hardly any is active.
    a = sparse.csr_array(active.astype(np.float32))
    a.data = rng.uniform(values["low"], 1.0, a.nnz).astype(np.float32)
    parts.append(a)
    x[first : first + rows] = a @ planted.dictionary
  x += values["noise"] * rng.normal(size=x.shape) if values["noise"] else 0.0
  y = sparse.vstack(parts).tocsr()

  def read(indices: np.ndarray) -> Arrays:
    return {"x": x[indices], "y": y[np.asarray(indices)].toarray()}

  return Split(n=len(x), read=read, nbytes=x.nbytes + 4 * len(x) * len(planted.dictionary))


def _blocks(n: int) -> Iterator[tuple[int, int]]:
  yield from ((first, min(_BLOCK, n - first)) for first in range(0, n, _BLOCK))


def _active(
  rng: np.random.Generator, kind: str, rows: int, values: Mapping[str, float], planted: Truth
) -> np.ndarray:
  """Which features are active, [rows, features] bool."""
  features = len(planted.parent)
  if kind == "superposition":
    return rng.random((rows, features)) < planted.probability
  if kind == "hierarchy":
    family = 1 + int(values["children"])
    roots = rng.random((rows, features // family)) < planted.probability[0]
    follows = roots & (rng.random(roots.shape) < values["follow"])
    chosen = rng.integers(1, max(family, 2), roots.shape)
    active = (np.arange(family) == chosen[..., None]) & follows[..., None]
    active[..., 0] = roots
    return active.reshape(rows, features)
  # Of a stream of the world's: the correlations are the same for every seed and split.
  world = np.random.default_rng([int(values["world"]), 3])
  loadings = world.normal(size=(features, int(values["rank"])))
  loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
  common = rng.normal(size=(rows, loadings.shape[1])) @ loadings.T
  own = rng.normal(size=(rows, features))
  gaussian = np.sqrt(values["rho"]) * common + np.sqrt(1.0 - values["rho"]) * own
  return gaussian > -ndtri(planted.probability)


def _parse(argument: str) -> tuple[str, dict[str, float]]:
  kind, _, text = argument.partition(":")
  if kind not in DEFAULTS:
    hint = "Write e.g. planted:superposition:features=128,dim=64."
    raise ConfigError(unknown("kind of planted source", kind, DEFAULTS, hint))
  where = f"planted:{kind}"
  values = options.parse(where, text, DEFAULTS[kind])
  lowest = dict(features=1, dim=1, l0=0.0, low=0.0, noise=0.0, n=1, n_test=1, seed=0, world=0)
  lowest |= dict(children=1, follow=0.0, zipf=0.0, rank=1, rho=0.0)
  highest = dict(low=1.0, follow=1.0, rho=1.0)
  options.check_range(
    where, values, {key: (lowest[key], highest.get(key, np.inf)) for key in values}
  )
  if kind == "hierarchy" and values["features"] % (1 + values["children"]):
    raise ConfigError(
      f"{where}: features={values['features']} do not divide into families of one parent and "
      f"children={values['children']}. Use a multiple of {1 + values['children']:g}."
    )
  return kind, values
