"""Pictures of a run: rate and distortion over training, the 2-D code, the mistakes.

Figures are built as objects, never through pyplot, so that making a report inside a larger
program changes no state there.
"""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ibjax.report.row import NATS_PER_BIT, data_name, method_name, number
from ibjax.report.runs import Run, read_arrays, read_run, replace_file

# (label, colour, steps, values) and (title, unit, curves).
Curve = tuple[str, str, np.ndarray, np.ndarray]
Panel = tuple[str, str, list[Curve]]

DPI = 200
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

GRID_COLUMNS = 6
ELLIPSES = 250
# Above this many classes, counts and names no longer fit into the confusion matrix.
NAMED_CLASSES = 30
# A noisy training curve with more points than this is drawn faint under its running mean.
RAW_POINTS = 80


def make_pictures(workdir: str | os.PathLike) -> dict[str, pathlib.Path]:
  """Draws every picture that the run's files allow, as PNG files in the run folder.

  Args:
    workdir: a run folder, finished or not.

  Returns:
    The files written, by name: some of "rate_distortion", "latents" and "confusions".

  Raises:
    WorkdirError: not a run folder, or it cannot be written to.
  """
  run = read_run(workdir)
  painters: dict[str, Callable[[Run], Figure | None]] = {
    "rate_distortion": draw_rate_distortion,
    "latents": draw_latents,
    "confusions": draw_confusions,
  }
  written = {}
  for name, draw in painters.items():
    figure = draw(run)
    if figure is None:
      continue
    content = io.BytesIO()
    # Without the version stamp the same run gives the same file.
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    written[name] = run.path / f"{name}.png"
    replace_file(written[name], content.getvalue())
  return written


def draw_rate_distortion(run: Run) -> Figure | None:
  """Rate, distortion and test error over training, one panel each, over one step axis.

  Args:
    run: a run; a panel without any recorded value is left out.

  Returns:
    The figure, or None when no metric was recorded.
  """
  panels = [panel for panel in (_rate(run), _distortion(run), _error(run)) if panel]
  if not panels:
    return None
  figure = Figure(figsize=(6.4, 0.75 + 1.75 * len(panels)), layout="constrained")
  axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
  for ax, (title, unit, curves) in zip(axes, panels):
    _draw_panel(ax, title, unit, curves)
  figure.align_ylabels(axes)
  if panels[0][0] == "Rate":
    _add_bits(axes[0])
    _add_label_entropy(axes[0], read_arrays(run, "predictions.npz"))
  last = max(int(steps[-1]) for _, _, curves in panels for _, _, steps, _ in curves)
  axes[-1].set_xlim(0, max(1.02 * last, 1))
  axes[-1].set_xlabel("training step", fontsize=8, color=SOFT)
  axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
  axes[-1].xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
  figure.suptitle(_heading(run), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  return figure


def draw_latents(run: Run) -> Figure | None:
  """The test split in a two-dimensional code, coloured by class, mistakes crossed.

  Args:
    run: a run whose predictions hold a 2-D `latent`.

  Returns:
    The figure, or None when there is no 2-D code.
  """
  arrays = read_arrays(run, "predictions.npz")
  latent = arrays.get("latent")
  if latent is None or latent.ndim != 2 or latent.shape[1] != 2 or not len(latent):
    return None
  label, names = arrays["label"], _class_names(run, arrays)
  figure = Figure(figsize=(5.6, 5.6), layout="constrained")
  ax = figure.subplots()
  _style(ax)
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
      _plain(names[k]),
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
  figure.suptitle(_heading(run), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
  note = f"{len(latent):,} test examples by true class"
  note += f"; × marks the {len(wrong):,} mistakes" if len(wrong) else "; no mistakes"
  if "latent_log_scale" in arrays:
    note += "; ellipses: one standard deviation"
  ax.set_title(note, loc="left", fontsize=7.5, color=SOFT)
  return figure


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
  names = _class_names(run, predictions)
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


def _curves(run: Run, *wanted: tuple[str, str, str, str]) -> list[Curve]:
  """The recorded curves among (label, colour, split, name)."""
  found = [(label, colour, *run.curve(split, name)) for label, colour, split, name in wanted]
  return [curve for curve in found if np.isfinite(curve[3]).any()]


def _rate(run: Run) -> Panel | None:
  curves = _curves(run, ("train", TRAIN, "train", "rate_nats"), ("test", TEST, "test", "rate_nats"))
  return ("Rate", "nats", curves) if curves else None


def _distortion(run: Run) -> Panel | None:
  curves = _curves(
    run, ("train", TRAIN, "train", "distortion_nats"), ("test", TEST, "test", "distortion_nats")
  )
  if curves:
    return "Distortion", "nats", curves
  # A baseline without a stochastic code has no distortion; its loss is the same quantity.
  curves = _curves(run, ("train", TRAIN, "train", "loss_nats"), ("test", TEST, "test", "nll_nats"))
  return ("Cross-entropy", "nats", curves) if curves else None


def _error(run: Run) -> Panel | None:
  curves = _curves(
    run,
    ("test, one sample", SOFT, "test", "err_1sample_frac"),
    ("test", TEST, "test", "err_frac"),
  )
  return (
    ("Test error", "%", [(a, b, steps, 100.0 * values) for a, b, steps, values in curves])
    if curves
    else None
  )


def _draw_panel(ax: Axes, title: str, unit: str, curves: Sequence[Curve]) -> None:
  _style(ax)
  ax.grid(axis="y", color=FAINT, linewidth=0.6)
  everything = np.concatenate([values for *_, values in curves])
  everything = everything[np.isfinite(everything)]
  for label, colour, steps, values in curves:
    dots = len(values) <= 40 and (label == "test" or len(values) == 1)
    if label == "train" and len(values) > RAW_POINTS:
      ax.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
      steps, values = _running_mean(steps, values)
    ax.plot(
      steps,
      values,
      color=colour,
      linewidth=1.5,
      linestyle="--" if "one sample" in label else "-",
      marker="o" if dots else "",
      markersize=2.8,
      clip_on=False,
    )
  # A curve that falls by more than an order of magnitude shows its end only on a log axis.
  if everything.min() > 0 and everything.max() > 20 * everything.min():
    ax.set_yscale("log")
    _log_ticks(ax.yaxis)
  elif everything.min() >= 0:
    ax.set_ylim(0, 1.08 * everything.max() or 1)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
  ax.set_ylabel(unit, fontsize=8, color=SOFT)
  ax.set_title(title, loc="left", fontsize=9, fontweight="bold", color=INK)
  # The legend is the last values, in their colours: no box over the data, no key to look up.
  anchor: Axes | Text = ax
  at, offset = (1.0, 1.0), (0, 4)
  for label, colour, _, values in curves[::-1]:
    anchor = ax.annotate(
      f"{label} {_last(values, unit)}",
      at,
      xycoords="axes fraction" if anchor is ax else anchor,
      xytext=offset,
      textcoords="offset points",
      ha="right",
      va="bottom",
      fontsize=8,
      color=colour,
      fontweight="bold",
    )
    # Each next one ends a little left of where the one before it begins.
    at, offset = (0.0, 0.0), (-12, 0)


def _last(values: np.ndarray, unit: str) -> str:
  return f"{values[-1]:.2f} %" if unit == "%" else f"{number(values[-1])} {unit}"


def _running_mean(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  window = max(3, len(values) // 30)
  kernel = np.full(window, 1.0 / window)
  middle = slice((window - 1) // 2, (window - 1) // 2 + len(values) - window + 1)
  return steps[middle], np.convolve(values, kernel, mode="valid")


def _log_ticks(axis: Axis) -> None:
  axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
  axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
  axis.set_minor_locator(NullLocator())


def _add_bits(ax: Axes) -> None:
  right = ax.secondary_yaxis(
    "right",
    functions=(
      lambda nats: np.asarray(nats) / NATS_PER_BIT,
      lambda bits: np.asarray(bits) * NATS_PER_BIT,
    ),
  )
  right.set_ylabel("bits", fontsize=8, color=SOFT)
  right.tick_params(labelsize=7.5, colors=SOFT, length=0)
  right.spines["right"].set_visible(False)
  if ax.get_yscale() == "log":
    _log_ticks(right.yaxis)
  else:
    right.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _add_label_entropy(ax: Axes, predictions: dict[str, np.ndarray]) -> None:
  """A line at H(Y): a code that keeps nothing but the label pays this much."""
  if not len(predictions.get("label", ())):
    return
  counts = np.unique(predictions["label"], return_counts=True)[1]
  share = counts / counts.sum()
  entropy = float(-(share * np.log(share)).sum())
  low, high = ax.get_ylim()
  if not low < entropy < high:
    return
  ax.axhline(entropy, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
  ax.annotate(
    f"H(Y) = {number(entropy)} nats",
    (1.0, entropy),
    xycoords=("axes fraction", "data"),
    xytext=(-3, 2),
    textcoords="offset points",
    ha="right",
    fontsize=7,
    color=SOFT,
  )


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
  low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
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
    words = f"{_plain(names[label])} → {_plain(names[guess])}"
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
  _style(ax)
  # The colour scale is for the mistakes: the diagonal is thousands of times as large.
  colours = LinearSegmentedColormap.from_list("mistakes", ["#ffffff", "#f6c29b", TEST, "#7a2f00"])
  top = max(1, wrong.max())
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
    ax.set_xticks(range(size), [_plain(name) for name in names], rotation=90 if long else 0)
    ax.set_yticks(range(size), [_plain(name) for name in names])
  for edge in ax.spines.values():
    edge.set_visible(False)
  ax.set_xlabel("predicted", fontsize=8, color=SOFT)
  ax.set_ylabel("true", fontsize=8, color=SOFT)


def _class_names(run: Run, predictions: dict[str, np.ndarray]) -> list[str]:
  """A name for every class that occurs: the data set's own, numbers where it has none."""
  mistakes = read_arrays(run, "confusions.npz")
  names = [str(name) for name in mistakes.get("class_names", ())]
  seen = [
    int(arrays[key].max()) + 1
    for arrays in (predictions, mistakes)
    for key in ("label", "prediction")
    if len(arrays.get(key, ()))
  ]
  return names + [str(k) for k in range(len(names), max(seen, default=0))]


def _heading(run: Run) -> str:
  data = data_name(run)
  return _plain(method_name(run) + (f" on {data}" if data else ""))


def _plain(text: str) -> str:
  """Text from a file, kept from being read as a formula."""
  return text.replace("$", r"\$")


def _style(ax: Axes) -> None:
  for side in ("top", "right"):
    ax.spines[side].set_visible(False)
  for side in ("left", "bottom"):
    ax.spines[side].set_color("#b6bcc4")
    ax.spines[side].set_linewidth(0.8)
  ax.tick_params(labelsize=7.5, colors=SOFT, length=0)
