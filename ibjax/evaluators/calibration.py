"""Whether predicted probabilities can be believed: calibration error and Brier score, on the host.

Source: Guo et al. 2017, "On calibration of modern neural networks" (arXiv:1706.04599).
"""

from __future__ import annotations

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError


def expected_calibration_error(
  confidence: np.ndarray, correct: np.ndarray, bins: int = 15
) -> float:
  """Mean distance between how sure a classifier is and how often it is right.

  Formula: ECE = sum_m |B_m| / n |acc(B_m) - conf(B_m)|, where bin m of M holds the confidences
  in ((m - 1) / M, m / M]; a confidence of 0 belongs to the first.

  Args:
    confidence: [n] probability of the predicted class.
    correct: [n] bool, True where the prediction is the label.
    bins: how many bins of equal width, M.

  Returns:
    The error, a fraction in [0, 1].

  Raises:
    InputError: no example, shapes that do not fit, a confidence outside [0, 1], no bin.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.calibration import expected_calibration_error
    >>> sure = np.array([0.75, 0.75, 0.75, 0.75])
    >>> expected_calibration_error(sure, np.array([True, True, True, False]))
    0.0

  Source: Guo et al. 2017 (arXiv:1706.04599), eq. 3, with its 15 bins.
  """
  checks.at_least("bins", bins, 1)
  confidence = _probabilities("confidence", confidence)
  checks.shape("correct", correct, confidence.shape)
  # Right-closed bins; the clip takes 0 into the first and rounding above 1 into the last.
  index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  right = np.bincount(index, np.asarray(correct, np.float64), minlength=bins)
  said = np.bincount(index, confidence, minlength=bins)
  return float(np.abs(right - said).sum() / len(confidence))


def brier_score(label_prob: np.ndarray, collision_prob: np.ndarray) -> float:
  """Mean squared distance between the predicted distribution and the label's indicator.

  Formula: 1/n sum_i sum_k (p_ik - [y_i = k])^2 = 1/n sum_i (1 - 2 p_{i, y_i} + sum_k p_ik^2).
  It is 0 for sure and right, 2 for sure and wrong.

  Args:
    label_prob: [n] predicted probability of the label, p_{i, y_i}.
    collision_prob: [n] sum over the classes of the squared probabilities.

  Returns:
    The score, in [0, 2].

  Raises:
    InputError: no example, shapes that do not fit, a value outside [0, 1].

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.calibration import brier_score
    >>> brier_score(np.array([0.5]), np.array([0.5]))  # a coin
    0.5

  Source: Brier 1950, "Verification of forecasts expressed in terms of probability", eq. 2.
  """
  label_prob = _probabilities("label_prob", label_prob)
  collision_prob = _probabilities("collision_prob", collision_prob)
  checks.shape("collision_prob", collision_prob, label_prob.shape)
  return float(np.mean(1.0 - 2.0 * label_prob + collision_prob))


def _probabilities(name: str, values: np.ndarray) -> np.ndarray:
  values = np.asarray(values, np.float64)
  checks.shape(name, values, ("n",))
  if len(values) == 0:
    raise InputError(f"{name} is empty; there is nothing to average over.")
  # float32 sums of probabilities end a few units in the last place above 1.
  if not ((values >= 0) & (values <= 1 + 1e-5)).all():
    row = int(np.flatnonzero(~((values >= 0) & (values <= 1 + 1e-5)))[0])
    raise InputError(f"{name} is {values[row]:g} at row {row}, expected numbers in [0, 1].")
  return values
