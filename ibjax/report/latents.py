"""The test split in a two-dimensional code."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ibjax.report.runs import Run, read_arrays
from ibjax.report.style import (
  CLASS_COLOURS,
  CLASS_MARKERS,
  INK,
  SOFT,
  class_names,
  heading,
  plain,
  style,
)

ELLIPSES = 250


def draw_latents(run: Run) -> Figure | None:
  """The test split in a two-dimensional code, coloured by class, mistakes crossed.

  Args:
    run: a run whose predictions hold a 2-D `latent`.

  Returns:
    The figure, or None when there is no 2-D code or there are no labels.
  """
  arrays = read_arrays(run, "predictions.npz")
  latent = arrays.get("latent")
  if latent is None or latent.ndim != 2 or latent.shape[1] != 2 or not len(latent):
    return None
  if "label" not in arrays:  # real-valued targets: there are no classes to colour
    return None
  label, names = arrays["label"], class_names(run, arrays)
  figure = Figure(figsize=(5.6, 5.6), layout="constrained")
  ax = figure.subplots()
  style(ax)
  # In a random order no class lies on top of another; the seed keeps the picture the same.
  order = np.random.default_rng(0).permutation(len(latent))
  colours = np.array([to_rgba(CLASS_COLOURS[k % len(CLASS_COLOURS)]) for k in range(len(names))])
  size = float(np.clip(20_000 / len(latent), 3.0, 25.0))
  for k, marker in enumerate(CLASS_MARKERS[: -(-len(names) // len(CLASS_COLOURS))]):
    part = order[label[order] // len(CLASS_COLOURS) == k]
    ax.scatter(
      latent[part, 0],
      latent[part, 1],
      s=size,
      c=colours[label[part]],
      marker=marker,
      alpha=0.55,
      linewidths=0,
    )
  if arrays.get("latent_log_scale", np.empty(0)).shape == latent.shape:
    some = order[:ELLIPSES]
    sizes = 2.0 * np.exp(arrays["latent_log_scale"][some])
    ax.add_collection(
      EllipseCollection(
        sizes[:, 0],
        sizes[:, 1],
        np.zeros(len(some)),
        units="xy",
        offsets=latent[some],
        offset_transform=ax.transData,
        facecolors="none",
        edgecolors=colours[label[some]],
        linewidths=0.5,
        alpha=0.8,
      )
    )
  wrong = np.flatnonzero(label != arrays["prediction"])
  ax.scatter(
    latent[wrong, 0], latent[wrong, 1], s=2.5 * size, c=INK, marker="x", linewidths=0.7, zorder=3
  )
  for k in np.unique(label):
    x, y = np.median(latent[label == k], axis=0)
    ax.text(
      x,
      y,
      plain(names[k]),
      fontsize=8,
      fontweight="bold",
      color=colours[k],
      ha="center",
      va="center",
      zorder=4,
      bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": colours[k], "lw": 0.8},
    )
  ax.set_aspect("equal", adjustable="datalim")
  ax.set_xlabel("code dimension 1", fontsize=8, color=SOFT)
  ax.set_ylabel("code dimension 2", fontsize=8, color=SOFT)
  figure.suptitle(heading(run), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  note = f"{len(latent):,} test examples by true class"
  note += f"; × marks the {len(wrong):,} mistakes" if len(wrong) else "; no mistakes"
  if "latent_log_scale" in arrays:
    note += "; ellipses: one standard deviation"
  ax.set_title(note, loc="left", fontsize=7.5, color=SOFT)
  return figure
