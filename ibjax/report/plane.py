"""The information plane of a run, or its mean over runs, and what else was tracked with it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ibjax.core.errors import WorkdirError
from ibjax.report.row import NATS_PER_BIT
from ibjax.report.runs import Run, read_arrays, read_run
from ibjax.report.style import CLASS_COLOURS, CLASS_MARKERS, FAINT, INK, SOFT, heading, plain, style

FILE = "plane.npz"
WIDTH, HEIGHT = 4.3, 3.7
MOST_ACROSS = 3
# Units of what is drawn over the steps: (end of the name, label of the axis, logarithmic).
OVER_STEPS = (
  ("/snr", "gradient: norm of mean / norm of std", True),
  ("/mean_norm", "norm of the mean gradient / norm of weights", True),
  ("/std_norm", "norm of the gradients' std / norm of weights", True),
  ("/relative", "local rank", False),
  ("/nats", "nats", False),
  ("/i_ty_nats", "nats", False),
  ("/dim", "dimension", False),
  ("/outliers", "eigenvalues above those of noise", False),
  ("/outlier_energy", "their part of the sum", False),
  ("/effective_rank", "effective rank", False),
  ("/anisotropy", "mean cosine between hidden states", False),
)
# Endings of which several quantities of a layer may be tracked, so that their names are shown.
OF_SEVERAL = (
  *("/nats", "/i_ty_nats", "/dim"),
  *("/outliers", "/outlier_energy", "/effective_rank", "/anisotropy"),
)


@dataclasses.dataclass(frozen=True)
class Planes:
  """What was tracked of one run, or the mean over several.

  Attributes:
    layers: the names of layer_1, layer_2, ...
    step: [k] steps.
    columns: name -> [k] values, means over the runs.
    limits: "h_x_nats", "h_y_nats" and "curve" [2, m] in nats, where they are known.
    n: number of runs.
  """

  layers: tuple[str, ...]
  step: np.ndarray
  columns: Mapping[str, np.ndarray]
  limits: Mapping[str, np.ndarray]
  n: int = 1

  def estimators(self) -> list[str]:
    """The estimators that give both coordinates of the plane."""
    both = [name.split("/")[0] for name in self.columns if name.endswith("/layer_1/i_ty_nats")]
    return [name for name in both if f"{name}/layer_1/i_xt_nats" in self.columns]


def planes_of(arrays: Mapping[str, np.ndarray], n: int = 1) -> Planes:
  """Reads the arrays of a run's plane.npz.

  Args:
    arrays: by name.
    n: how many runs they are the mean of.

  Returns:
    The plane.
  """
  known = ("h_x_nats", "h_y_nats", "curve")
  return Planes(
    layers=tuple(map(str, arrays["layers"])),
    step=np.asarray(arrays["step"]),
    columns=dict(zip(map(str, arrays["names"]), np.asarray(arrays["values"], np.float64).T)),
    limits={name: np.asarray(arrays[name]) for name in known if name in arrays},
    n=n,
  )


def mean_arrays(folders: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
  """Averages the planes of runs of one setting.

  Args:
    folders: run folders.

  Returns:
    The arrays of a plane.npz whose values are means over the runs, and "n", their number; {} when
    no folder has a plane.

  Raises:
    WorkdirError: the planes are not of the same steps, layers and quantities.
  """
  found = [read_arrays(read_run(folder), FILE) for folder in folders]
  found = [arrays for arrays in found if arrays]
  if not found:
    return {}
  first = found[0]
  for folder, arrays in zip(folders, found):
    for name in ("step", "names", "layers"):
      if not np.array_equal(first[name], arrays[name]):
        raise WorkdirError(f"the plane in {folder} is of other {name} than that in {folders[0]}.")
  values = np.mean([arrays["values"] for arrays in found], axis=0)
  return {**first, "values": values, "n": np.array(len(found))}


def draw_plane(run: Run) -> Figure | None:
  """Draws all that was tracked of a run.

  Args:
    run: a run.

  Returns:
    A figure: the plane of each estimator, then what else was tracked over the steps; None when
    nothing was.
  """
  arrays = read_arrays(run, FILE)
  return _all(planes_of(arrays), heading(run)) if arrays else None


def _all(planes: Planes, title: str) -> Figure | None:
  if len(planes.step) < 2:
    return None
  panels = [(planes, name, name) for name in planes.estimators()]
  # What stands in a plane is not drawn again.
  over = [k for k in OVER_STEPS if _curves(planes, k[0]) and not (panels and k[0] == "/i_ty_nats")]
  if not panels and not over:
    return None
  return _figure(panels, [(planes, *kind) for kind in over], title)


def draw_mean(runs: Sequence[Run]) -> Figure | None:
  """Draws the mean plane of runs.

  Args:
    runs: runs of any kind.

  Returns:
    A figure as `draw_plane` makes it; None unless two runs or more have a plane, all of the same
    steps, layers and quantities.
  """
  there = [run.path for run in runs if (run.path / FILE).is_file()]
  if len(there) < 2:
    return None
  try:
    arrays = mean_arrays(there)
  except WorkdirError:
    return None  # runs of several kinds have no mean
  return _all(planes_of(arrays), f"Mean over {len(there)} runs")


def draw_panels(panels: Sequence[tuple[Planes, str, str]], title: str) -> Figure:
  """Draws planes beside each other.

  Args:
    panels: (plane, estimator, title of the panel).
    title: of the figure.

  Returns:
    The figure.
  """
  return _figure(list(panels), [], title)


def draw_over_steps(panels: Sequence[tuple[Planes, str, str]], ending: str, title: str) -> Figure:
  """Draws one quantity of all layers over the steps, panels beside each other.

  Args:
    panels: (plane, start of the quantities' names, title of the panel).
    ending: end of their names, one of `OVER_STEPS`.
    title: of the figure.

  Returns:
    The figure.
  """
  (kind,) = (kind for kind in OVER_STEPS if kind[0] == ending)
  figure, axes = _axes(len(panels), title)
  for ax, (planes, start, text) in zip(axes, panels):
    _draw_over_steps(ax, planes, *kind, start=start)
    ax.set_title(plain(text), fontsize=8.5, color=INK, loc="left")
  return figure


def _axes(count: int, title: str) -> tuple[Figure, list[Axes]]:
  across = min(count, MOST_ACROSS)
  down = -(-count // across)
  figure = Figure(figsize=(WIDTH * across, HEIGHT * down + 0.35), layout="constrained")
  axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
  for ax in axes[count:]:
    ax.set_visible(False)
  figure.suptitle(plain(title), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  return figure, axes


def _figure(
  panels: list[tuple[Planes, str, str]], over: list[tuple[Planes, str, str, bool]], title: str
) -> Figure:
  figure, axes = _axes(len(panels) + len(over), title)
  for ax, (planes, estimator, text) in zip(axes, panels):
    colour = _draw_plane(ax, planes, estimator)
    ax.set_title(plain(text), fontsize=8.5, color=INK, loc="left")
  if panels:
    bar = figure.colorbar(colour, ax=axes[: len(panels)], shrink=0.75, pad=0.02, aspect=30)
    bar.set_label("training step", fontsize=8, color=SOFT)
    bar.ax.tick_params(labelsize=7, colors=SOFT, length=0)
    bar.outline.set_visible(False)
  for ax, (planes, ending, label, log) in zip(axes[len(panels) :], over):
    _draw_over_steps(ax, planes, ending, label, log)
  return figure


def _draw_plane(ax: Axes, planes: Planes, estimator: str) -> ScalarMappable:
  """Each layer is a path; its colour is the step, its marker the layer."""
  style(ax)
  ax.grid(color=FAINT, linewidth=0.6)
  ax.set_axisbelow(True)
  # Step 0 has no place on a logarithmic scale: it is coloured like step 1.
  norm = LogNorm(1, max(int(planes.step[-1]), 2))
  colours = colormaps["viridis"]
  widest = 0.0
  for number in range(1, len(planes.layers) + 1):
    x, y = (
      planes.columns[f"{estimator}/layer_{number}/{what}"] / NATS_PER_BIT
      for what in ("i_xt_nats", "i_ty_nats")
    )
    widest = max(widest, float(x.max()))
    ax.plot(x, y, color="#c3c9d1", linewidth=0.7, zorder=1)
    marker = CLASS_MARKERS[(number - 1) % len(CLASS_MARKERS)]
    shades = colours(norm(np.maximum(planes.step, 1)))
    ax.scatter(x, y, c=shades, marker=marker, s=16, linewidths=0.0, zorder=2)
    ax.annotate(
      str(number),
      (x[-1], y[-1]),
      xytext=(3, 4),
      textcoords="offset points",
      fontsize=7,
      color=INK,
    )
  if "curve" in planes.limits:
    curve_x, curve_y = planes.limits["curve"] / NATS_PER_BIT
    ax.plot(curve_x, curve_y, color=INK, linewidth=1.0, linestyle=(0, (4, 2.5)), zorder=0.5)
  elif "h_y_nats" in planes.limits:
    ax.axhline(
      float(planes.limits["h_y_nats"]) / NATS_PER_BIT,
      color=INK,
      linewidth=1.0,
      linestyle=(0, (4, 2.5)),
      zorder=0.5,
    )
  ax.set_xlim(left=min(0.0, ax.get_xlim()[0]), right=1.06 * max(widest, 1e-3))
  ax.set_xlabel("I(X;T), bits", fontsize=8, color=SOFT)
  ax.set_ylabel("I(T;Y), bits", fontsize=8, color=SOFT)
  return ScalarMappable(norm, colours)


def _curves(planes: Planes, ending: str, start: str = "") -> dict[str, np.ndarray]:
  """Layer -> values; gradients are shown over the norm of the weights."""
  found = {}
  for name, values in planes.columns.items():
    if not (name.endswith(ending) and name.startswith(start)):
      continue
    layer = name.removesuffix(ending).partition("/")[2]
    if ending in ("/mean_norm", "/std_norm"):
      values = values / planes.columns[name.removesuffix(ending) + "/weight_norm"]
    found[f"{name.split('/')[0]} {layer}".strip() if ending in OF_SEVERAL else layer] = values
  return found


def _draw_over_steps(
  ax: Axes, planes: Planes, ending: str, label: str, log: bool, start: str = ""
) -> None:
  style(ax)
  ax.grid(color=FAINT, linewidth=0.6)
  for number, (layer, values) in enumerate(_curves(planes, ending, start).items()):
    ax.plot(
      planes.step,
      values,
      color=CLASS_COLOURS[number % len(CLASS_COLOURS)],
      marker=CLASS_MARKERS[number % len(CLASS_MARKERS)],
      markersize=3,
      linewidth=1.2,
      label=plain(layer),
    )
  ax.set_xscale("symlog", linthresh=1)
  ax.set_xlim(left=0)
  ax.xaxis.set_major_locator(LogLocator(numticks=7))
  ax.xaxis.set_minor_locator(NullLocator())
  ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
  if log and all((values > 0).all() for values in _curves(planes, ending, start).values()):
    ax.set_yscale("log")
  ax.set_xlabel("training step", fontsize=8, color=SOFT)
  ax.set_ylabel(label, fontsize=8, color=SOFT)
  ax.legend(fontsize=6.5, frameon=False, labelcolor=INK)
