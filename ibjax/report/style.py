"""How the pictures look: colours, axes, headings; shared by all of them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ibjax.report.row import data_name, method_name
from ibjax.report.runs import Run, read_arrays

INK, SOFT, FAINT = "#22262b", "#6b7280", "#e3e6ea"

# Okabe and Ito: told apart under every common kind of colour blindness, and by lightness in grey.
TRAIN, TEST = "#0072b2", "#d55e00"

# Paul Tol's muted scheme, which is safe for colour blindness, and a dark grey as the tenth.
CLASS_COLOURS = (
  "#332288",
  "#cc6677",
  "#117733",
  "#ddaa33",
  "#88ccee",
  "#882255",
  "#44aa99",
  "#999933",
  "#aa4499",
  "#555555",
)
CLASS_MARKERS = "os^DvP"


def class_names(run: Run, predictions: dict[str, np.ndarray]) -> list[str]:
  """A name for every class that occurs: the data set's own, numbers where it has none.

  Args:
    run: the run; its confusions.npz is read for names.
    predictions: arrays of predictions.npz; "label" and "prediction" are looked at.

  Returns:
    Names by class number, at least as many as the highest class seen needs.
  """
  mistakes = read_arrays(run, "confusions.npz")
  names = [str(name) for name in mistakes.get("class_names", ())]
  seen = [
    int(arrays[key].max()) + 1
    for arrays in (predictions, mistakes)
    for key in ("label", "prediction")
    if len(arrays.get(key, ()))
  ]
  return names + [str(k) for k in range(len(names), max(seen, default=0))]


def heading(run: Run) -> str:
  """The method and the data set of a run.

  Args:
    run: a run, finished or not.

  Returns:
    Text for a plot, e.g. "vib on mnist".
  """
  data = data_name(run)
  return plain(method_name(run) + (f" on {data}" if data else ""))


def plain(text: str) -> str:
  """Text from a file, kept from being read as a formula.

  Args:
    text: any text.

  Returns:
    The text with its dollar signs escaped for matplotlib.
  """
  return text.replace("$", r"\$")


def style(ax: Axes) -> None:
  """Draws the frame of a plot: two thin soft lines.

  Args:
    ax: the axes; changed in place.
  """
  for side in ("top", "right"):
    ax.spines[side].set_visible(False)
  for side in ("left", "bottom"):
    ax.spines[side].set_color("#b6bcc4")
    ax.spines[side].set_linewidth(0.8)
  ax.tick_params(labelsize=7.5, colors=SOFT, length=0)
