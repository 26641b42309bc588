"""Classification of codes by the subspace of the training codes that they are nearest to.

Source: Yu et al. 2020 (arXiv:2006.08558), section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained


def nearest_subspace(
  components: int = 10, normalise: bool = True, split: str = "test"
) -> Callable[[Trained], dict[str, float]]:
  """Measures the error of the nearest class subspace, without the decoder.

  Formula: y = argmin_j |(I - U_j U_j')(z - m_j)|^2, m_j the mean of the training codes of class j
  and U_j their first principal components. The training labels are the run's own, wrong ones
  too.

  Args:
    components: dimensions of each class's subspace, >= 0 and below the code's; 0 is the nearest
      class mean. A class of fewer examples has fewer.
    normalise: scale the codes to length one first, as coding rates do.
    split: whose error is measured.

  Returns:
    `assess(trained) -> {"err_frac"}`.

  Raises:
    InputError: real-valued targets, or as many components as the code has dimensions.

  Example:
    >>> from ibjax.evaluators.nearest_subspace import nearest_subspace
    >>> assess = nearest_subspace(components=4)

  Source: Yu et al. 2020 (arXiv:2006.08558), section 3 (evaluation of the learned features).
  """
  checks.at_least("components", components, 0)

  def assess(trained: Trained) -> dict[str, float]:
    (codes, labels), (tested, truth) = (
      labelled_codes(trained, name, "nearest_subspace", normalise) for name in ("train", split)
    )
    if components >= codes.shape[1]:
      raise InputError(
        f"nearest_subspace: components={components} fill a code of {codes.shape[1]} dimensions, "
        f"so that every class is as near; set it below {codes.shape[1]}."
      )
    far = np.full((len(tested), trained.num_classes), np.inf)
    for j in range(trained.num_classes):
      own = codes[labels == j]
      if not len(own):
        continue
      mean = own.mean(axis=0)
      basis = np.linalg.svd(own - mean, full_matrices=False)[2][:components]
      rest = tested - mean
      far[:, j] = np.sum(rest**2, axis=1) - np.sum((rest @ basis.T) ** 2, axis=1)
    return {"err_frac": float(np.mean(np.argmin(far, axis=1) != truth))}

  return assess


def labelled_codes(
  trained: Trained, split: str, method: str, normalise: bool, examples: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the codes and labels of a split.

  Args:
    trained: the model.
    split: its name.
    method: who asks, for the message.
    normalise: scale the codes to length one.
    examples: the first so many; 0 takes all.

  Returns:
    (codes [n, d] float64, labels [n]).

  Raises:
    InputError: the data have real-valued targets.
  """
  found = trained.data("", split)
  stop = examples or None
  labels = np.asarray(found["y"])[:stop]
  if labels.ndim != 1:
    raise InputError(
      f"{method} compares labels, and this data set has real-valued targets; leave it out of "
      "config.assess."
    )
  codes = np.asarray(trained.forward(found["x"][:stop])["code"], np.float64)
  if normalise:
    codes = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-12)
  return codes, labels
