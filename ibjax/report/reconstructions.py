"""Inputs of an autoencoder and what it makes of them, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ibjax.report.runs import Run, read_arrays
from ibjax.report.style import INK, SOFT, heading

PAIRS, COLUMNS = 24, 12


def draw_reconstructions(run: Run) -> Figure | None:
  """The first test images, each with its reconstruction below it.

  Args:
    run: a run of a source "autoencode:..." whose inputs are images, by the manifest.

  Returns:
    The figure, or None for any other run.
  """
  data = run.config.get("data", {})
  if not str(data.get("source", "")).startswith("autoencode:"):
    return None
  arrays = read_arrays(run, "predictions.npz")
  shape = tuple(run.manifest.get("data", {}).get("x_shape", ()))
  pair = [_images(arrays.get(name), shape) for name in ("target", "prediction")]
  if pair[0] is None or pair[1] is None or not len(pair[0]):
    return None
  inputs, outputs = pair[0], pair[1]
  if _log_odds(run.config.get("objective", {})):
    outputs = 1.0 / (1.0 + np.exp(-outputs))
  columns = min(COLUMNS, len(inputs))
  rows = 2 * -(-len(inputs) // columns)
  tight = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
  figure = Figure(figsize=(0.62 * columns, 0.64 * rows + 0.7), layout=tight)
  axes = figure.subplots(rows, columns, squeeze=False)
  for ax in axes.ravel():
    ax.set_axis_off()
  for number, images in enumerate(zip(inputs, outputs)):
    for below, image in enumerate(images):
      ax = axes[2 * (number // columns) + below, number % columns]
      shown = np.clip(image, 0.0, 1.0)
      # White behind, ink in front, as the other pictures show grey levels.
      shown = 1.0 - shown if shown.ndim == 2 else shown
      ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
  figure.suptitle(heading(run), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  figure.supxlabel(
    f"the first {len(inputs)} test images; below each, its reconstruction", fontsize=8, color=SOFT
  )
  return figure


def _images(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
  """The first rows as [m, h, w] or [m, h, w, 3]; None when inputs of that shape are no images."""
  if len(shape) == 3 and shape[2] == 1:
    shape = shape[:2]
  is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
  if values is None or not is_image or values.shape[1:] != (math.prod(shape),):
    return None
  return np.asarray(values[:PAIRS], np.float64).reshape(-1, *shape)


def _log_odds(objective: Mapping[str, Any]) -> bool:
  """Whether the decoder gives log odds of pixels, in the objective or in one that it wraps."""
  if objective.get("likelihood") == "bernoulli":
    return True
  inner = objective.get("inner")
  return isinstance(inner, Mapping) and _log_odds(inner)
