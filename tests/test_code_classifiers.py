"""Classifiers of codes by subspaces and neighbours, of codes that are known."""

import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.nearest_neighbours import nearest_neighbours
from ibjax.evaluators.nearest_subspace import nearest_subspace

RNG = np.random.default_rng(0)


def model(train, test, classes=2):
  """A trained model whose code is its input."""
  splits = {"train": train, "test": test}
  return Trained(
    data=lambda name, split: dict(zip(("x", "y"), splits[split])),
    forward=lambda x: {"code": x},
    gradient=lambda x, y: x,
    value_range=None,
    num_classes=classes,
    label_probs=np.full(classes, 1 / classes),
    seed=0,
    config={},
  )


def on_lines(n):
  """Two classes on two lines through the origin of space, with a little noise."""
  labels = np.arange(n) % 2
  along = RNG.choice([-3.0, 3.0], (n, 1)) + RNG.normal(size=(n, 1))
  return along * np.eye(3)[labels] + 0.01 * RNG.normal(size=(n, 3)), labels


def test_subspaces_tell_classes_apart_whose_means_are_one_point():
  trained = model(on_lines(200), on_lines(100))
  assert nearest_subspace(components=1, normalise=False)(trained)["err_frac"] == 0.0
  assert nearest_subspace(components=0, normalise=False)(trained)["err_frac"] > 0.2


def test_distances_to_subspaces_by_projections():
  x, y = RNG.normal(size=(60, 4)), np.arange(60) % 3
  tested = RNG.normal(size=(40, 4))
  far = []
  for j in range(3):
    own = x[y == j]
    vectors = np.linalg.eigh(np.cov(own.T))[1]
    off = np.eye(4) - vectors[:, -2:] @ vectors[:, -2:].T
    far.append(np.linalg.norm((tested - own.mean(0)) @ off, axis=1))
  predicted = np.argmin(far, axis=0)
  trained = model((x, y), (tested, predicted), classes=3)
  assert nearest_subspace(components=2, normalise=False)(trained)["err_frac"] == 0.0
  assert nearest_subspace(components=2, normalise=True)(trained)["err_frac"] > 0.0


def test_neighbours_vote():
  x, y = np.array([[0.0], [1.0], [1.1], [5.0]]), np.array([0, 1, 1, 0])
  tested = (np.array([[0.1], [0.9], [4.0]]), np.array([0, 1, 0]))
  trained = model((x, y), tested)
  assert nearest_neighbours(k=1, normalise=False)(trained)["err_frac"] == 0.0
  # Of three, the pair at one outvotes the others everywhere.
  found = nearest_neighbours(k=3, normalise=False)(trained)["err_frac"]
  np.testing.assert_allclose(found, 2 / 3)
  found = nearest_neighbours(k=1, normalise=False, examples=1)(trained)["err_frac"]
  np.testing.assert_allclose(found, 1 / 3)


def test_codes_of_length_one_are_compared_by_cosine():
  x, y = np.array([[1.0, 0.0], [0.0, 10.0]]), np.array([0, 1])
  trained = model((x, y), (np.array([[1.0, 4.0]]), np.array([1])))
  assert nearest_neighbours(k=1)(trained)["err_frac"] == 0.0
  assert nearest_neighbours(k=1, normalise=False)(trained)["err_frac"] == 1.0


def test_bad_input_is_explained():
  x, y = RNG.normal(size=(4, 2)), np.array([0, 1, 0, 1])
  with pytest.raises(InputError, match="components=2 fill a code of 2 dimensions"):
    nearest_subspace(components=2)(model((x, y), (x, y)))
  with pytest.raises(InputError, match="k=5 is more than the 4 training codes"):
    nearest_neighbours(k=5)(model((x, y), (x, y)))
  targets = model((x, x), (x, x))
  for assess in (nearest_subspace(components=1), nearest_neighbours(k=1)):
    with pytest.raises(InputError, match="real-valued targets"):
      assess(targets)
