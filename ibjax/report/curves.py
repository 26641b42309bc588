"""Rate, distortion and test error over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ibjax.report.row import NATS_PER_BIT, number
from ibjax.report.runs import Run, read_arrays
from ibjax.report.style import FAINT, INK, SOFT, TEST, TRAIN, heading, style

# (label, colour, steps, values) and (title, unit, curves).
Curve = tuple[str, str, np.ndarray, np.ndarray]
Panel = tuple[str, str, list[Curve]]

# A noisy training curve with more points than this is drawn faint under its running mean.
RAW_POINTS = 80


def draw_rate_distortion(run: Run) -> Figure | None:
  """Rate, distortion and error over training, one panel each, over one step axis.

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
  figure.suptitle(heading(run), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
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
  if curves:
    return "Test error", "%", [(a, b, steps, 100.0 * values) for a, b, steps, values in curves]
  curves = _curves(run, ("train", TRAIN, "train", "mse"), ("test", TEST, "test", "mse"))
  return ("Squared error", "", curves) if curves else None


def _draw_panel(ax: Axes, title: str, unit: str, curves: Sequence[Curve]) -> None:
  style(ax)
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
  return f"{values[-1]:.2f} %" if unit == "%" else f"{number(values[-1])} {unit}".rstrip()


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
