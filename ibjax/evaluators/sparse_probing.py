"""How well a few latents of a dictionary tell a class from all others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.dictionaries import encode, labelled
from ibjax.evaluators.ranking import ranking


def sparse_probing(
  ks: tuple[int, ...] = (1, 5),
  classes: int = 10,
  examples: int = 5000,
  split: str = "test",
  penalty: float = 1.0,
) -> Callable[[Trained], dict[str, float]]:
  """Measures how well logistic regression on k latents tells each class from the others.

  Formula: for each class the k latents of largest |mean of z in the class - mean outside| on the
  training split, scaled to unit deviation; on these a logistic regression with classes weighted
  equally. AUROC and balanced accuracy on the other split, averaged over classes. The same probe
  on all of x bounds what there is to find; on the k coordinates of x chosen alike it is what a
  dictionary has to beat.

  Use it where the inputs have labels: classes of images, the next or the present token of text.

  Args:
    ks: numbers of latents.
    classes: the commonest so many are probed.
    examples: of training and of testing, the first so many; 0 takes all.
    split: where the probes are tested.
    penalty: C of the regression, > 0, larger is weaker.

  Returns:
    `assess(trained)` -> {"k1_auroc_frac", "k1_balanced_acc_frac", "input_k1_auroc_frac", ...,
    "input_all_auroc_frac", "input_all_balanced_acc_frac"}.

  Raises:
    InputError: no labels, more latents than there are, or a bottleneck that is no dictionary.

  Example:
    >>> from ibjax.evaluators.sparse_probing import sparse_probing
    >>> assess = sparse_probing(ks=(1, 2, 5))

  Source: Gurnee et al. 2023 (arXiv:2305.01610), sparse probing by the mean difference; of
  dictionaries, Gao et al. 2024 (arXiv:2406.04093), section 4.2 (one latent).
  """
  if not ks:
    raise InputError("sparse_probing: ks=() asks for no probe, e.g. (1, 5).")
  for k in ks:
    checks.at_least("k", k, 1)
  checks.at_least("classes", classes, 1)
  checks.at_least("examples", examples, 0)
  checks.at_least("penalty", penalty, 0.0, strict=True)

  def assess(trained: Trained) -> dict[str, float]:
    some = slice(examples or None)
    x, y = (part[some] for part in labelled(trained, "train", "sparse_probing"))
    x_test, y_test = (part[some] for part in labelled(trained, split, "sparse_probing"))
    for name, found_labels in (("train", y), (split, y_test)):
      if len(np.unique(found_labels)) < 2:
        raise InputError(
          f"sparse_probing: the first {len(found_labels)} examples of the split '{name}' are all "
          "of one class: they are in order. Set examples=0 to take all."
        )
    z, z_test = encode(trained, x).latents.tocsc(), encode(trained, x_test).latents.tocsc()
    if max(ks) > min(z.shape[1], x.shape[1]):
      raise InputError(f"sparse_probing: k={max(ks)} is more than there are latents or inputs.")
    counts = np.bincount(y)
    common = np.argsort(-counts, kind="stable")[: min(classes, np.count_nonzero(counts))]
    sets = {"": (z, z_test), "input_": (x, x_test)}
    found: dict[str, list[float]] = {}

    def note(name: str, train: np.ndarray, test: np.ndarray, label: int) -> None:
      probe = _fit(train, y == label, penalty)
      score, truth = probe(test), y_test == label
      if truth.all() or not truth.any():
        return
      auroc = ranking(score[truth], score[~truth])["auroc_frac"]
      balanced = 0.5 * (np.mean(score[truth] > 0) + np.mean(score[~truth] <= 0))
      found.setdefault(f"{name}_auroc_frac", []).append(auroc)
      found.setdefault(f"{name}_balanced_acc_frac", []).append(float(balanced))

    for label in common:
      for prefix, (train, test) in sets.items():
        order = np.argsort(-np.abs(difference(train, y == label)), kind="stable")
        for k in ks:
          note(f"{prefix}k{k}", _dense(train, order[:k]), _dense(test, order[:k]), label)
      note("input_all", x, x_test, label)
    return {name: float(np.mean(values)) for name, values in found.items()}

  return assess


def difference(values: sparse.csc_array | np.ndarray, inside: np.ndarray) -> np.ndarray:
  """By how much the mean of each column inside a group is above that outside.

  Args:
    values: [n, d], sparse or not.
    inside: [n] bool.

  Returns:
    [d].
  """
  weights = inside / max(inside.sum(), 1) - ~inside / max((~inside).sum(), 1)
  return np.asarray(weights @ values).ravel()


def _dense(values: sparse.csc_array | np.ndarray, columns: np.ndarray) -> np.ndarray:
  part = values[:, columns]
  return part if isinstance(part, np.ndarray) else part.toarray()


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
  scale = x.std(axis=0) + 1e-8
  middle = x.mean(axis=0)
  model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=200)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # near enough to rank by
    model.fit((x - middle) / scale, y)
  return lambda rows: model.decision_function((rows - middle) / scale)
