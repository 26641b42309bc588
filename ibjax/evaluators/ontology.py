"""Whether latents answer to the nodes of an ontology of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.dictionaries import encode, labelled

# Of CIFAR-10's classes in their order, after WordNet's hypernyms, some levels left out.
CIFAR10 = (
  "artifact/vehicle/craft/airplane",
  "artifact/vehicle/motor/automobile",
  "animal/bird",
  "animal/mammal/carnivore/cat",
  "animal/mammal/ungulate/deer",
  "animal/mammal/carnivore/dog",
  "animal/frog",
  "animal/mammal/ungulate/horse",
  "artifact/vehicle/craft/ship",
  "artifact/vehicle/motor/truck",
)


def ontology(
  paths: Sequence[str] = CIFAR10, top: int = 10, split: str = "test", examples: int = 0
) -> Callable[[Trained], dict[str, float]]:
  """Measures how specific latents are in a tree of classes, and how much of the tree they cover.

  Formula: for each latent the lowest common ancestor of the classes of its `top` most active
  examples; its height is the longest way down from there to a class, 0 for a class itself.
  lca_height = mean over latents that are active on `top` examples at least; random_lca_height the
  same for `top` random examples. coverage = share of the tree's nodes, the root apart, that are
  some latent's ancestor; class_coverage = share of the classes.

  Use it on features of images, or of anything else whose classes have an order of kinds.

  Args:
    paths: of each class, in the order of the labels, "kind/.../name" from the root down.
    top: examples looked at, >= 2.
    split: of the examples.
    examples: the first so many; 0 takes all.

  Returns:
    `assess(trained)` -> {"lca_height", "random_lca_height", "coverage_frac", "class_coverage_frac",
    "active_latents"}.

  Raises:
    InputError: no labels, a label without a path, two classes of one path, or no dictionary.

  Example:
    >>> from ibjax.evaluators.ontology import ontology
    >>> assess = ontology(paths=("animal/cat", "animal/dog", "vehicle/truck"), top=5)

  Source: height of the lowest common hypernym and ontological coverage as in the study of vision
  dictionaries by arXiv:2505.15970 (by its description; the text was not at hand).
  """
  checks.at_least("top", top, 2)
  checks.at_least("examples", examples, 0)
  nodes = [tuple(("", *path.split("/"))) for path in paths]
  if len(set(nodes)) < len(nodes):
    raise InputError(f"ontology: two classes have the same path among {list(paths)}.")

  def assess(trained: Trained) -> dict[str, float]:
    x, y = (part[: examples or None] for part in labelled(trained, split, "ontology"))
    if y.max() >= len(nodes):
      raise InputError(f"ontology: label {int(y.max())} has no path; there are {len(nodes)}.")
    latents = encode(trained, x).latents.tocsc()
    found = []
    for number in np.flatnonzero(np.diff(latents.indptr) >= top):
      part = slice(latents.indptr[number], latents.indptr[number + 1])
      rows = latents.indices[part][np.argsort(-latents.data[part], kind="stable")[:top]]
      found.append(common([nodes[label] for label in y[rows]]))
    rng = np.random.default_rng([trained.seed, 4])
    drawn = [common([nodes[k] for k in y[rng.permutation(len(y))[:top]]]) for _ in range(200)]
    inside = {node[:depth] for node in nodes for depth in range(2, len(node) + 1)}
    return {
      "lca_height": float(np.mean([_height(n, nodes) for n in found])) if found else float("nan"),
      "random_lca_height": float(np.mean([_height(node, nodes) for node in drawn])),
      "coverage_frac": len(inside & set(found)) / len(inside),
      "class_coverage_frac": len(set(nodes) & set(found)) / len(nodes),
      "active_latents": float(len(found)),
    }

  return assess


def common(nodes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
  """The lowest common ancestor of nodes, each given by the way to it from the root.

  Args:
    nodes: at least one.

  Returns:
    Their longest common beginning.

  Example:
    >>> from ibjax.evaluators.ontology import common
    >>> common([("", "animal", "cat"), ("", "animal", "dog")])
    ('', 'animal')
  """
  shortest = min(map(len, nodes))
  same = [len({node[:depth] for node in nodes}) == 1 for depth in range(1, shortest + 1)]
  return nodes[0][: sum(same)]


def _height(node: tuple[str, ...], nodes: Sequence[tuple[str, ...]]) -> int:
  return max(len(leaf) - len(node) for leaf in nodes if leaf[: len(node)] == node)
