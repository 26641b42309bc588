"""Warnings that cost nothing: limits an estimate cannot exceed, noise, and too few samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ibjax.core.estimate import Estimate, Note


def not_finite(nats: float) -> Note:
  """Makes the warning for an estimate that is no number.

  Args:
    nats: NaN or an infinity.

  Returns:
    The warning.
  """
  return Note("not_finite", f"the estimate is {nats}; it says nothing.")


def label_entropy(labels: np.ndarray) -> float:
  """Plug-in entropy of labels.

  Args:
    labels: [n] integers.

  Returns:
    Nats.
  """
  p = np.unique(labels, return_counts=True)[1] / len(labels)
  return float(-np.sum(p * np.log(p)))


def cheap(estimator: Any, estimate: Estimate, given: tuple[Any, Any, Any]) -> tuple[Note, ...]:
  """Finds what needs no second estimate.

  Args:
    estimator: the `Estimator`.
    estimate: its finite result.
    given: x, y, z as `samples.check` gives them.

  Returns:
    Warnings: "above_entropy", "above_log_n", "negative", "few_samples".
  """
  notes = []
  information = estimator.quantity.endswith("mutual_information")
  noise = 2.0 * estimate.stderr if math.isfinite(estimate.stderr) else 0.0
  if information and estimator.bounded_by_entropy:
    for name, array in zip("xy", given):
      if array is not None and array.ndim == 1:
        limit = label_entropy(array)
        if estimate.nats > limit + max(noise, 1e-6):
          notes.append(
            Note(
              "above_entropy",
              f"{estimate.nats:.3f} nats exceed H({name}) = {limit:.3f} nats of the labels, which "
              "no mutual information can; the estimator fails here.",
            )
          )
  if information and estimate.nats < -max(noise, 1e-3):
    notes.append(
      Note(
        "negative",
        f"{estimate.nats:.3f} nats is below zero by more than its noise; mutual information is "
        "never negative, so this is bias. Use more samples or fewer dimensions.",
      )
    )
  d = sum(array.shape[1] for array in given if array is not None and array.ndim == 2)
  if d > 1 and estimate.n < 10 * d * d and estimator.quantity != "dimension":
    notes.append(
      Note(
        "few_samples",
        f"{estimate.n} samples are few for {d} dimensions; expect bias. Give at least "
        f"{10 * d * d}, or reduce the dimension.",
      )
    )
  return tuple(notes)
