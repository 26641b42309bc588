"""How unlike the training data an input is, as one number: of predictions, rates and codes.

Source: the method named at each score in `SCORES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.neighbors import NearestNeighbors

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained

# Score -> (what it is computed from, as `Trained.forward` names it, and which models have that).
SCORES: dict[str, tuple[str, str]] = {
  "confidence": ("logits", "a model of labels"),  # Hendrycks and Gimpel 2017
  "entropy": ("logits", "a model of labels"),
  "energy": ("logits", "a model of labels"),  # Liu et al. 2020 (arXiv:2010.03759), eq. 4, T = 1
  "rate": ("rate", "a bottleneck with a rate"),  # Alemi et al. 2018 (arXiv:1807.00906)
  "distance": ("distance_nats", "bottlenecks.distance_aware"),  # Apostolopoulou et al. 2024
  "mahalanobis": ("code", "any model"),  # Lee et al. 2018 (arXiv:1807.03888), eq. 2
  "neighbours": ("code", "any model"),  # Sun et al. 2022 (arXiv:2204.06507), eq. 1
}


class Reference(NamedTuple):
  """What the training codes were fitted by.

  Attributes:
    centre: [d] subtracted from codes.
    axes: [d, m] onto which they are projected.
    means: [c, m] of the classes.
    whiten: [m, m] with whiten whiten' the inverse of the covariance that the classes share.
    search: finds the nearest training codes.
    normalise: whether codes have unit length where neighbours are searched.
  """

  centre: np.ndarray
  axes: np.ndarray
  means: np.ndarray
  whiten: np.ndarray
  search: NearestNeighbors
  normalise: bool


def choose(names: Iterable[str], outputs: Mapping[str, Any]) -> tuple[str, ...]:
  """Checks which scores are asked for; none named means all that the model has.

  Args:
    names: of `SCORES`.
    outputs: what `Trained.forward` returned.

  Returns:
    Names.

  Raises:
    InputError: an unknown score, or one whose origin this model does not have.
  """
  names = tuple(names)
  for name in names:
    checks.one_of("score", name, tuple(SCORES))
    needed, origin = SCORES[name]
    if needed not in outputs:
      raise InputError(
        f"score '{name}' is computed from '{needed}', which {origin} gives, and this model gives "
        f"{', '.join(sorted(outputs))}. Leave it out, or train with {origin}."
      )
  return names or tuple(name for name, (needed, _) in SCORES.items() if needed in outputs)


def fit(
  code: Any,
  labels: Any,
  *,
  components: int = 0,
  neighbours: int = 50,
  normalise: bool = True,
) -> Reference:
  """Fits what the scores of codes compare with.

  Formula: means mu_c and the shared covariance S = 1/n sum_i (z_i - mu_{y_i}) (z_i - mu_{y_i})'
  (its pseudo-inverse where it is singular), after a projection onto the leading principal
  components.

  Args:
    code: [n, d] of training examples.
    labels: [n] integers; anything else makes one class of all.
    components: how many principal components are kept; 0 keeps the code as it is.
    neighbours: which nearest training code counts.
    normalise: whether codes are brought to unit length before neighbours are searched.

  Returns:
    A `Reference`.

  Raises:
    InputError: no example, more neighbours or components than there are.
  """
  code = np.asarray(code, np.float64)
  checks.shape("code", code, ("n", "d"))
  n, d = code.shape
  checks.between("components", components, 0, d)
  checks.between("neighbours", neighbours, 1, n)
  centre = code.mean(axis=0) if components else np.zeros(d)
  axes = np.eye(d)
  if components:
    axes = np.linalg.svd(np.cov(code, rowvar=False).reshape(d, d))[0][:, :components]
  kept = (code - centre) @ axes
  labels = np.asarray(labels)
  if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
    labels = np.zeros(n, np.int64)
  classes, index = np.unique(labels, return_inverse=True)
  means = np.stack([kept[index == i].mean(axis=0) for i in range(len(classes))])
  within = kept - means[index]
  values, vectors = np.linalg.eigh(within.T @ within / n)
  real = values > max(values.max(), 0.0) * 1e-10
  whiten = vectors * np.where(real, np.where(real, values, 1.0) ** -0.5, 0.0)
  # All distances: with many neighbours or columns a tree is slower.
  search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(
    _unit(kept) if normalise else kept
  )
  return Reference(centre, axes, means, whiten, search, normalise)


def scores(
  outputs: Mapping[str, Any], names: Iterable[str], reference: Reference | None = None
) -> dict[str, np.ndarray]:
  """Computes the scores of examples; all are larger for examples that are less like training.

  Formula: confidence -max_c log p_c; entropy -sum_c p_c log p_c; energy -log sum_c exp(logit_c);
  rate and distance as the bottleneck gives them; mahalanobis min_c (z - mu_c)' S^-1 (z - mu_c);
  neighbours the distance to the k-th nearest training code.

  Args:
    outputs: what `Trained.forward` returned.
    names: of `SCORES`, as `choose` returned them.
    reference: of the training codes, for "mahalanobis" and "neighbours".

  Returns:
    Name -> [n] float64; nats, squared standard deviations (mahalanobis), and the unit of the code
    (neighbours).

  Raises:
    InputError: a score of codes without a reference.
  """
  found = {}
  for name in names:
    if name in ("mahalanobis", "neighbours"):
      if reference is None:
        raise InputError(f"score '{name}' compares with training codes; give a `fit` of them.")
      found[name] = _of_code(name, outputs["code"], reference)
    else:
      found[name] = _of_output(name, outputs)
  return found


def fitted(
  trained: Trained,
  names: Iterable[str],
  *,
  components: int = 0,
  neighbours: int = 50,
  normalise: bool = True,
  examples: int = 10_000,
) -> Reference | None:
  """Fits a reference to a model's training split, where a score asks for one.

  Args:
    trained: the model.
    names: scores.
    components: as in `fit`.
    neighbours: as in `fit`.
    normalise: as in `fit`.
    examples: as many training examples at most, drawn by the run's seed.

  Returns:
    A `Reference`, or None when no score needs it.
  """
  if not {"mahalanobis", "neighbours"} & set(names):
    return None
  data = trained.data("", "train")
  n = len(data["x"])
  rows = np.sort(np.random.default_rng([trained.seed, 1]).permutation(n)[: examples or n])
  code = trained.forward(data["x"][rows])["code"]
  labels = data["y"][rows] if trained.num_classes else np.zeros((len(rows), 0))
  return fit(code, labels, components=components, neighbours=neighbours, normalise=normalise)


def _of_output(name: str, outputs: Mapping[str, Any]) -> np.ndarray:
  value = np.asarray(outputs[SCORES[name][0]], np.float64)
  if name == "energy":
    return -logsumexp(value, axis=-1)
  if name == "confidence":
    return -np.max(np.asarray(outputs["prediction"], np.float64), axis=-1)
  if name == "entropy":
    log_probs = np.asarray(outputs["prediction"], np.float64)
    return -np.sum(np.exp(log_probs) * np.maximum(log_probs, -1e4), axis=-1)
  return value


def _of_code(name: str, code: Any, reference: Reference) -> np.ndarray:
  kept = (np.asarray(code, np.float64) - reference.centre) @ reference.axes
  if name == "neighbours":
    return reference.search.kneighbors(_unit(kept) if reference.normalise else kept)[0][:, -1]
  # |z - mu|^2 of whitened codes, class by class: [n, c, m] would not fit for many classes.
  white, means = kept @ reference.whiten, reference.means @ reference.whiten
  return np.min([np.sum(np.square(white - mean), axis=-1) for mean in means], axis=0)


def _unit(code: np.ndarray) -> np.ndarray:
  length = np.linalg.norm(code, axis=-1, keepdims=True)
  return code / np.where(length > 0, length, 1.0)
