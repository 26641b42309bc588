"""From the per-example predictions of a split to the averages that only the whole split has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ibjax.evaluators.calibration import brier_score, expected_calibration_error


def summarize(predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Computes what the recorded arrays allow.

  Args:
    predictions: name -> [n, ...] host arrays, as a program's `predict` gives them; read are
      "label", "prediction" and "confidence", "label_prob" and "collision_prob", and every
      "..._wrong" (bool).

  Returns:
    Name -> value: "ece_frac", "brier", and "..._err_frac" for every "..._wrong". What the arrays
    do not allow is left out.

  Raises:
    InputError: arrays that do not fit each other.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.summary import summarize
    >>> summarize({"fgsm_0.1_wrong": np.array([True, False])})
    {'fgsm_0.1_err_frac': 0.5}
  """
  values: dict[str, float] = {}
  if {"label", "prediction", "confidence"} <= set(predictions):
    correct = predictions["label"] == predictions["prediction"]
    values["ece_frac"] = expected_calibration_error(predictions["confidence"], correct)
  if {"label_prob", "collision_prob"} <= set(predictions):
    values["brier"] = brier_score(predictions["label_prob"], predictions["collision_prob"])
  for name, wrong in predictions.items():
    if name.endswith("_wrong"):
      values[f"{name.removesuffix('_wrong')}_err_frac"] = float(np.mean(wrong))
  return values
