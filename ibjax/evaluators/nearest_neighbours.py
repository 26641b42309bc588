"""Classification of codes by the labels of the nearest training codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.nearest_subspace import labelled_codes

_ROWS = 1000  # tested together, so that the distances fit in memory


def nearest_neighbours(
  k: int = 5, normalise: bool = True, split: str = "test", examples: int = 10_000
) -> Callable[[Trained], dict[str, float]]:
  """Measures the error of a vote among the nearest training codes, without the decoder.

  Formula: y = the commonest label of the k nearest training codes, by Euclidean distance (of
  codes of length one: by cosine); of labels as common, the least. The training labels are the
  run's own, wrong ones too.

  Args:
    k: how many vote, >= 1.
    normalise: scale the codes to length one first.
    split: whose error is measured.
    examples: training examples compared with, the first so many; 0 takes all.

  Returns:
    `assess(trained) -> {"err_frac"}`.

  Raises:
    InputError: real-valued targets, or fewer training examples than k.

  Example:
    >>> from ibjax.evaluators.nearest_neighbours import nearest_neighbours
    >>> assess = nearest_neighbours(k=1)

  Source: Cover and Hart 1967, "Nearest neighbor pattern classification"; k = 5 and cosines as in
  the evaluation of Yu et al. 2020 (arXiv:2006.08558).
  """
  checks.at_least("k", k, 1)
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    codes, labels = labelled_codes(trained, "train", "nearest_neighbours", normalise, examples)
    tested, truth = labelled_codes(trained, split, "nearest_neighbours", normalise)
    if len(codes) < k:
      raise InputError(f"nearest_neighbours: k={k} is more than the {len(codes)} training codes.")
    middle = codes.mean(axis=0)  # products of far numbers lose the small differences
    codes = (codes - middle).astype(np.float32)
    square = np.sum(codes**2, axis=1)
    wrong = 0
    for first in range(0, len(tested), _ROWS):
      rows = (tested[first : first + _ROWS] - middle).astype(np.float32)
      far = square - 2.0 * rows @ codes.T  # less the row's own square, the same for all
      nearest = labels[np.argpartition(far, k - 1, axis=1)[:, :k]]
      votes = np.sum(nearest[:, :, None] == np.arange(trained.num_classes), axis=1)
      wrong += np.sum(np.argmax(votes, axis=1) != truth[first : first + _ROWS])
    return {"err_frac": float(wrong / len(tested))}

  return assess
