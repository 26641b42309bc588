"""How far a trained regression is from its targets, in the unit that the targets had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core.errors import InputError
from ibjax.core.types import Trained


def target_errors(
  splits: tuple[str, ...] = ("test",),
) -> Callable[[Trained], dict[str, float]]:
  """Measures the errors of a regression in the unit that its targets had before scaling.

  Formula: e = s (y - y'), y' the prediction averaged over the codes that evaluation draws and s
  the scale that the source divided by; rmse = sqrt(mean e^2), mae = mean |e|, and explained =
  1 - mean e^2 / mean (s y - mean s y)^2. Means are over examples and targets.

  Use it when errors are compared with published ones, which are in the unit of the data.

  Args:
    splits: what is measured, e.g. ("validation", "test").

  Returns:
    `assess(trained)` -> {"test_rmse", "test_mae", "test_explained_frac"}, and the same for other
    splits.

  Raises:
    InputError: no split, or data with labels.

  Example:
    >>> from ibjax.evaluators.target_errors import target_errors
    >>> assess = target_errors(splits=("test",))
  """
  if not splits:
    raise InputError("target_errors: splits=() names nothing to measure, e.g. ('test',).")

  def assess(trained: Trained) -> dict[str, float]:
    if trained.num_classes:
      raise InputError(
        f"target_errors measures real-valued targets, and these data have {trained.num_classes} "
        "classes. Their errors are in the row already: test/err_frac."
      )
    found = {}
    for split in splits:
      data = trained.data("", split)
      prediction, y = trained.forward(data["x"])["prediction"], data["y"]
      rmse = root_mean_square(trained, prediction, y)
      spread = root_mean_square(trained, np.broadcast_to(y.mean(axis=0), y.shape), y)
      found[f"{split}_rmse"] = rmse
      found[f"{split}_mae"] = float(np.mean(np.abs(_errors(trained, prediction, y))))
      found[f"{split}_explained_frac"] = 1.0 - rmse**2 / spread**2 if spread else 0.0
    return found

  return assess


def root_mean_square(trained: Trained, prediction: np.ndarray, y: np.ndarray) -> float:
  """Root mean square of the errors in the targets' own unit.

  Args:
    trained: the model, which knows the scale of its targets.
    prediction: [n, t].
    y: [n, t], as stored.

  Returns:
    sqrt(mean (scale (y - prediction))^2), over examples and targets.
  """
  return float(np.sqrt(np.mean(np.square(_errors(trained, prediction, y)))))


def error_rate(trained: Trained, prediction: np.ndarray, y: np.ndarray) -> float:
  """The share of examples whose most probable class is not their label.

  Args:
    trained: not used; the signature is `root_mean_square`'s.
    prediction: [n, c] log probabilities.
    y: [n] labels.

  Returns:
    A share in [0, 1].
  """
  del trained
  return float(np.mean(np.argmax(prediction, axis=-1) != y))


def _errors(trained: Trained, prediction: np.ndarray, y: np.ndarray) -> np.ndarray:
  scale = np.asarray(trained.target_scale or (1.0,), np.float64)
  return (np.asarray(y, np.float64) - prediction) * scale
