"""Progress for people: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibjax.train.collapse import collapsed

# A run that is told to stop does so between two dispatches, and has perhaps two minutes for it.
LONG_DISPATCH_S = 45.0
SHOWN = ("loss_nats", "err_frac", "mse", "rate_nats", "residual_nats")


class Progress:
  """Prints how far a run is, how fast, and how long it will take.

  Args:
    total: steps of the run.
    active: whether this process prints.
    pulse: told (step, total, steps per second) after every dispatch, in every process.
  """

  def __init__(
    self, total: int, active: bool, pulse: Callable[[int, int, float], None] | None = None
  ):
    self._total, self._active, self._pulse = total, active, pulse
    self._live = active and sys.stderr.isatty()
    self._marks: list[tuple[int, float]] = []
    self._text, self._warned = "", False
    self._collapsed: set[str] = set()

  def say(self, text: str) -> None:
    """Prints a line that stays."""
    if self._active:
      self._clear()
      print(text, file=sys.stderr, flush=True)

  def update(self, step: int) -> None:
    """Redraws the live line; called after every dispatch."""
    # The first mark is the end of the first dispatch, which compiled the program.
    self._marks = [*self._marks[-30:], (step, time.monotonic())]
    self._warn_of_long()
    if self._pulse:
      self._pulse(step, self._total, self.rate())
    if self._live:
      self._clear()
      print(f"\r{self._line(step)}{self._text}", end="", file=sys.stderr, flush=True)

  def _warn_of_long(self) -> None:
    (before, then), (step, now) = self._marks[-2:] if len(self._marks) > 1 else [(0, 0.0)] * 2
    if now - then > LONG_DISPATCH_S and not self._warned:
      self._warned = True
      self.say(
        f"warning: {step - before} steps in one dispatch take {now - then:.0f} s, and a stop "
        "(SIGTERM, preemption) waits for their end; lower config.train.steps_per_dispatch to be "
        "sure to save"
      )

  def _warn_of_collapse(self, step: int, values: Mapping[str, Any]) -> None:
    for name, text in collapsed(values).items():
      if name not in self._collapsed:  # once: the metric's curve tells the rest
        self._collapsed.add(name)
        self.say(f"warning: at step {step} {text}")

  def metrics(self, step: int, split: str, values: Mapping[str, Any]) -> None:
    """Shows metrics: in the live line while training, as a line of their own otherwise."""
    shown = "  ".join(_format(name, values[name]) for name in SHOWN if name in values)
    if shown and any(np.ndim(values[name]) for name in SHOWN if name in values):
      shown += "  (best/median/worst)"
    if split == "train":
      self._warn_of_collapse(step, values)
      self._text = f"  {shown}"
      if not self._live:
        self.say(f"{self._line(step)}  train  {shown}")
    else:
      self.say(f"step {step:>{len(str(self._total))}}/{self._total}  {split}  {shown}")

  def rate(self) -> float:
    """Steps per second over the last dispatches."""
    if not self._marks:
      return 0.0
    (first, then), (last, now) = self._marks[0], self._marks[-1]
    return (last - first) / (now - then) if now > then else 0.0

  def pause(self, seconds: float) -> None:
    """Leaves out a time that was not spent on training (an evaluation, say)."""
    self._marks = [(step, mark + seconds) for step, mark in self._marks]

  def _line(self, step: int) -> str:
    rate = self.rate()
    left = clock((self._total - step) / rate) if rate > 0 else "?"
    width = len(str(self._total))
    return f"step {step:>{width}}/{self._total}  {rate:6.1f} steps/s  {left} left"

  def _clear(self) -> None:
    if self._live:
      print("\r\033[K", end="", file=sys.stderr)


def _format(name: str, value: Any) -> str:
  if np.ndim(value):
    # Of a population: its spread, not a number each. Lower is better in all that is shown.
    good = np.asarray(value)[np.isfinite(value)]
    if not len(good):
      return f"{name} -"
    scale, unit = (100, "%") if name.endswith("_frac") else (1, "")
    unit = " nats" if name.endswith("_nats") else unit
    spread = "/".join(f"{scale * v:.4g}" for v in (good.min(), np.median(good), good.max()))
    return f"{name.removesuffix('_frac').removesuffix('_nats')} {spread}{unit}"
  if name.endswith("_frac"):
    return f"{name[:-5]} {100 * value:.2f}%"
  if not name.endswith("_nats"):
    return f"{name} {value:.4g}"
  return f"{name[:-5]} {value:.4g} nats"


def clock(seconds: float) -> str:
  """Writes a time as on a clock.

  Args:
    seconds: a duration.

  Returns:
    "m:ss", or "h:mm:ss" from an hour on.
  """
  minutes, seconds = divmod(int(seconds + 0.5), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
