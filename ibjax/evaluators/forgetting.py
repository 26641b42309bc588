"""What a model that learns groups of classes one after another keeps of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError


def group_accuracies(
  by_class: np.ndarray, counts: np.ndarray, groups: Sequence[Sequence[int]]
) -> np.ndarray:
  """Accuracies of groups of classes, from those of classes.

  Args:
    by_class: [t, c] accuracies after each stage.
    counts: [c] test examples of each class.
    groups: classes of each group.

  Returns:
    [t, len(groups)].
  """
  chosen = [np.asarray(group) for group in groups]
  return np.stack(
    [(by_class[:, g] * counts[g]).sum(axis=1) / counts[g].sum() for g in chosen], axis=1
  )


def forgetting(accuracy: np.ndarray) -> np.ndarray:
  """How much of its best accuracy each group has lost at the end.

  Formula: f_g = max_{t < T} a_{t,g} - a_{T,g} for the groups before the last, t in 1..T-1; a value
  below zero means that the end is the best. Their mean is the forgetting of the whole.

  Args:
    accuracy: [T, T], entry (t, g) the accuracy on group g after training on group t.

  Returns:
    [T - 1]; empty for one group, where nothing can be forgotten.

  Raises:
    InputError: not a square matrix.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.forgetting import forgetting
    >>> forgetting(np.array([[0.9, 0.0, 0.0], [0.6, 0.8, 0.0], [0.1, 0.5, 0.7]])).round(3).tolist()
    [0.8, 0.3]

  Source: Chaudhry et al. 2018, "Riemannian walk for incremental learning" (arXiv:1801.10112),
  section 3.2 on forgetting.
  """
  _check(accuracy)
  return accuracy[:-1, :-1].max(axis=0, initial=-np.inf) - accuracy[-1, :-1]


def average_accuracy(accuracy: np.ndarray) -> float:
  """The mean, over the stages, of the accuracy on the groups that came so far.

  Formula: 1/T sum_t 1/t sum_{g <= t} a_{t,g}.

  Args:
    accuracy: [T, T], as for `forgetting`.

  Returns:
    A fraction; the accuracy on each stage's classes with all classes to choose from, where the
    accuracies were measured so.

  Raises:
    InputError: not a square matrix.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.forgetting import average_accuracy
    >>> average_accuracy(np.array([[1.0, 0.0], [0.5, 0.5]]))
    0.75

  Source: Rebuffi et al. 2017, "iCaRL" (arXiv:1611.07725), section 4, the average incremental
  accuracy.
  """
  _check(accuracy)
  return float(np.mean([accuracy[t, : t + 1].mean() for t in range(len(accuracy))]))


def _check(accuracy: np.ndarray) -> None:
  checks.shape("accuracy", accuracy, ("t", "t"))
  if not len(accuracy):
    raise InputError("accuracy is empty; there must be a stage at least.")
