"""Warnings that cost nothing: limits an estimate cannot exceed, noise, and too few samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ibjax.core.estimate import Estimate, Note

# How much of a ceiling may be used up before the estimate is held down by it.
NEAR_CEILING = 0.8


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


def noise(estimate: Estimate) -> float:
  """How far an estimate may be off by chance alone.

  Args:
    estimate: any.

  Returns:
    Two standard errors, nats; 2/sqrt(n) where there is no standard error: the mean of n log
    density ratios of spread 1, which is what about one nat has.
  """
  if math.isfinite(estimate.stderr):
    return 2.0 * estimate.stderr
  return 2.0 / math.sqrt(estimate.n)


def cheap(estimator: Any, estimate: Estimate, given: tuple[Any, Any, Any]) -> tuple[Note, ...]:
  """Finds what needs no second estimate.

  Args:
    estimator: the `Estimator`.
    estimate: its finite result. `diagnostics["ceiling_nats"]`, where the method gives it, is the
      largest value the method can return.
    given: x, y, z as `samples.check` gives them.

  Returns:
    Warnings: "above_entropy", "above_log_n", "near_ceiling", "negative", "sparse_classes",
    "few_samples".
  """
  notes = []
  if estimator.quantity.endswith("mutual_information"):
    notes += _limits(estimator, estimate, given)
    if estimate.nats < -noise(estimate):
      notes.append(
        Note(
          "negative",
          f"{estimate.nats:.3f} nats is below zero by more than the noise of {noise(estimate):.3f};"
          " mutual information is never negative, so this is bias. Use more samples or fewer "
          "dimensions.",
        )
      )
  for name, array in zip("xyz", given):
    if array is not None and array.ndim == 1 and 1 < len(np.unique(array)) > estimate.n / 5:
      notes.append(
        Note(
          "sparse_classes",
          f"{name} has {len(np.unique(array))} classes in {estimate.n} rows, fewer than 5 rows "
          "each; counts this small bias the estimate. Merge classes, or give more samples.",
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


def _limits(estimator: Any, estimate: Estimate, given: tuple[Any, Any, Any]) -> list[Note]:
  """Values no information, or no estimate of this method, can exceed."""
  notes = []
  if estimator.bounded_by_entropy:
    for name, array in zip("xy", given):
      if array is None or array.ndim != 1:
        continue
      limit = label_entropy(array)
      # A plug-in estimate may equal the plug-in entropy, but for rounding.
      if estimate.nats > limit + 1e-4:
        notes.append(
          Note(
            "above_entropy",
            f"{estimate.nats:.3f} nats exceed H({name}) = {limit:.3f} nats of the labels, which "
            "no mutual information can; the estimator fails here.",
          )
        )
    if estimate.nats > math.log(estimate.n) + 1e-4:
      notes.append(
        Note(
          "above_log_n",
          f"{estimate.nats:.3f} nats exceed ln n = {math.log(estimate.n):.3f} nats, more than "
          f"{estimate.n} samples can show without an assumption on the distribution. Give more "
          "samples.",
        )
      )
  ceiling = float(estimate.diagnostics.get("ceiling_nats", math.inf))
  told = any(note.code == "near_ceiling" for note in estimate.warnings)  # by the method itself
  if estimate.nats > NEAR_CEILING * ceiling and not told:
    notes.append(
      Note(
        "near_ceiling",
        f"{estimate.nats:.3f} nats is near {ceiling:.3f} nats, the most this method can return "
        "here; the truth may be much larger. Use larger batches, or a method without a ceiling.",
      )
    )
  return notes
