"""The mistakes of a classifier: the most confident ones as pictures, all of them as a matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from ibjax.report.runs import Run, read_arrays
from ibjax.report.style import FAINT, INK, SOFT, TEST, class_names, plain, style

GRID_COLUMNS = 6
# Above this many classes, counts and names no longer fit into the confusion matrix.
NAMED_CLASSES = 30


def draw_confusions(run: Run) -> Figure | None:
  """The most confident mistakes as pictures, beside the confusion matrix of the test split.

  Args:
    run: a run with `confusions.npz`, `predictions.npz` or both.

  Returns:
    The figure; without mistakes the matrix alone, and None when there is neither.
  """
  predictions, mistakes = read_arrays(run, "predictions.npz"), read_arrays(run, "confusions.npz")
  images = _as_images(mistakes.get("images"))
  halves: list[tuple[float, Callable[[SubFigure], None]]] = []
  names = class_names(run, predictions)
  if images is not None and len(images):
    halves.append((1.25, lambda part: _draw_mistakes(part, images, mistakes, names)))
  if len(predictions.get("label", ())):
    halves.append((1.0, lambda part: _draw_matrix(part, predictions, names)))
  if not halves:
    return None
  widths = [width for width, _ in halves]
  figure = Figure(figsize=(4.8 * sum(widths), 4.9), layout="constrained")
  parts = figure.subfigures(1, len(halves), width_ratios=widths, wspace=0.04, squeeze=False)[0]
  for (_, draw), part in zip(halves, parts):
    draw(part)
  return figure


def _as_images(images: np.ndarray | None) -> np.ndarray | None:
  """Images as [m, h, w] or [m, h, w, 3] in [0, 1]; None when they are not pictures."""
  if images is None:
    return None
  if images.ndim == 2 and (side := round(images.shape[1] ** 0.5)) ** 2 == images.shape[1]:
    images = images.reshape(-1, side, side)
  if images.ndim == 4 and images.shape[-1] == 1:
    images = images[..., 0]
  if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
    return None
  values = images.astype(np.float64)
  if images.dtype == np.uint8:
    return values / 255.0
  # Floats may be scaled to any range; one range for all keeps them comparable.
  low, high = (np.min(values), np.max(values)) if values.size else (0.0, 1.0)
  return (values - low) / max(high - low, 1e-12)


def _draw_mistakes(
  part: SubFigure, images: np.ndarray, mistakes: dict[str, np.ndarray], names: list[str]
) -> None:
  part.suptitle(
    "Most confident mistakes", x=0.02, ha="left", fontsize=9, fontweight="bold", color=INK
  )
  part.supxlabel("true → predicted, and how sure the model was", fontsize=8, color=SOFT)
  rows = -(-len(images) // GRID_COLUMNS)
  axes = part.subplots(rows, GRID_COLUMNS, squeeze=False).ravel()
  for ax in axes[len(images) :]:
    ax.set_axis_off()
  for ax, image, label, guess, sure in zip(
    axes, images, mistakes["label"], mistakes["prediction"], mistakes["confidence"]
  ):
    # White behind, ink in front, whichever way round the data set stores it.
    ax.imshow(1.0 - image if image.ndim == 2 else image, cmap="gray", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    for edge in ax.spines.values():
      edge.set_color(FAINT)
    words = f"{plain(names[label])} → {plain(names[guess])}"
    short = len(words) < 9
    gap = "   " if short else "\n"
    ax.set_title(f"{words}{gap}{100 * sure:.1f} %", fontsize=7 if short else 5, color=INK, pad=3)


def _draw_matrix(part: SubFigure, predictions: dict[str, np.ndarray], names: list[str]) -> None:
  label, guess = predictions["label"], predictions["prediction"]
  size = len(names)
  counts = np.bincount(label * size + guess, minlength=size * size).reshape(size, size)
  wrong = counts - np.diag(np.diag(counts))
  title = f"Test confusion: {wrong.sum():,} of {counts.sum():,} wrong"
  part.suptitle(title, x=0.02, ha="left", fontsize=9, fontweight="bold", color=INK)
  ax = part.subplots()
  style(ax)
  # The colour scale is for the mistakes: the diagonal is thousands of times as large.
  colours = LinearSegmentedColormap.from_list("mistakes", ["#ffffff", "#f6c29b", TEST, "#7a2f00"])
  top = max(1, int(np.max(wrong)))
  ax.imshow(wrong, cmap=colours, vmin=0, vmax=top)
  if size <= NAMED_CLASSES:
    font = 7.5 if size <= 12 else 5.0
    for row, column in np.argwhere(counts):
      right = row == column
      ax.text(
        column,
        row,
        f"{counts[row, column]}",
        ha="center",
        va="center",
        fontsize=font - 1 if right else font,
        color=SOFT if right else "white" if wrong[row, column] > 0.6 * top else INK,
      )
    for k in range(size):
      ax.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, color="#eef0f3", zorder=0.5))
    long = max(len(name) for name in names) > 2
    ax.set_xticks(range(size), [plain(name) for name in names], rotation=90 if long else 0)
    ax.set_yticks(range(size), [plain(name) for name in names])
  for edge in ax.spines.values():
    edge.set_visible(False)
  ax.set_xlabel("predicted", fontsize=8, color=SOFT)
  ax.set_ylabel("true", fontsize=8, color=SOFT)
