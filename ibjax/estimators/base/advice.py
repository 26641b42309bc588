"""Which of several estimates of the same samples to report, and why, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ibjax.core.estimate import Estimate
from ibjax.core.numerics import NATS_PER_BIT
from ibjax.estimators.base import warn

# Warnings that speak against the number itself; the others speak of the samples.
FAILURES = frozenset(
  (
    "not_finite",
    "above_entropy",
    "above_log_n",
    "near_ceiling",
    "negative",
    "seed",
    "scale",
    "affine",
    "not_converged",
    "independence",
    "data_processing",
    "additivity",
  )
)
INFORMATION = ("mutual_information", "conditional_mutual_information")
# Estimates that differ by less than this, in nats or as a share of the larger, agree.
AGREE_NATS = 0.05
AGREE_SHARE = 0.1


def recommend(estimates: Mapping[str, Estimate], *, bits: bool = False) -> str:
  """Says which number to report and why.

  Args:
    estimates: label -> estimate, all of the same samples, the more trusted methods first.
    bits: whether numbers are shown in bits.

  Returns:
    One paragraph.
  """
  usable = {
    label: found
    for label, found in estimates.items()
    if found.diagnostics["quantity"] in INFORMATION and math.isfinite(found.nats)
  }
  if not usable:
    return "None of these gave a finite estimate of information: there is nothing to report."
  show = _Shown(bits)
  best = min(usable, key=lambda label: _rank(usable[label]))
  found, failed = usable[best], _failed(usable[best])
  if failed:
    common, _ = Counter(code for one in usable.values() for code in _failed(one)).most_common(1)[0]
    where = "This estimate" if len(usable) == 1 else "Each of these estimates"
    return (
      f"{where} fails a check, so report none as it stands. The least doubtful is {best}, "
      f"{show.value(found)}, which fails: {', '.join(failed)}. Most frequent: {common}; see what "
      "its warning advises, above."
    )
  parts = [f"Report {best}: {show.value(found)}{show.interval(found)}.", _why(found)]
  parts += _beside(best, usable, show)
  if abs(found.nats) <= warn.noise(found):
    parts.append("It cannot be told from zero: no dependence is shown by these samples.")
  return " ".join(part for part in parts if part)


def _rank(found: Estimate) -> tuple[int, int, int, int]:
  """Smaller is better: failures, a one-sided bound from above, other warnings, no interval."""
  return (
    len(_failed(found)),
    found.bound == "upper",
    len(found.warnings),
    not math.isfinite(found.lower),
  )


def _failed(found: Estimate) -> list[str]:
  return sorted({note.code for note in found.warnings} & FAILURES)


def _why(found: Estimate) -> str:
  passed = found.diagnostics.get("checks")
  said = (
    "It passed the checks of consistency" if passed else "The checks of consistency were not run"
  )
  if found.bound == "lower":
    said += "; it is a lower bound, so the truth may be larger"
  if found.bound == "upper":
    said += "; it is an upper bound, so the truth may be smaller"
  rest = sorted({note.code for note in found.warnings})
  if rest:
    said += f"; of the samples it warns: {', '.join(rest)}"
  return f"{said}."


def _beside(best: str, usable: Mapping[str, Estimate], show: _Shown) -> list[str]:
  """What the other estimates that fail nothing say of it."""
  found, said = usable[best], []
  sound = {k: v for k, v in usable.items() if k != best and not _failed(v)}
  limit = max(AGREE_NATS, AGREE_SHARE * abs(found.nats))
  peers = {k: v for k, v in sound.items() if v.bound == "neither"}
  near = [k for k, v in peers.items() if abs(v.nats - found.nats) <= limit + warn.noise(v)]
  if near:
    said.append(f"{_listed(near)} {'agrees' if len(near) == 1 else 'agree'} with it.")
  if far := [k for k in peers if k not in near]:
    values = [found.nats, *(peers[k].nats for k in far)]
    said.append(
      f"{_listed(far)} {'does' if len(far) == 1 else 'do'} not, though nothing speaks against "
      f"{'it' if len(far) == 1 else 'them'}: report the range {show.number(min(values))} to "
      f"{show.number(max(values))} {show.unit}, or find out which assumption fails."
    )
  said += _bounds(found, {k: v for k, v in sound.items() if v.bound != "neither"}, limit, show)
  return said


def _bounds(
  found: Estimate, bounds: Mapping[str, Estimate], limit: float, show: _Shown
) -> list[str]:
  """Bounds that enclose the value, or contradict it."""
  said: list[str] = []
  beside: dict[str, list[str]] = {"lower": [], "upper": []}
  for label, other in bounds.items():
    if other.bound == "lower" and other.nats - warn.noise(other) > found.nats + limit:
      said.append(f"The lower bound of {label} is {show.value(other)}: this value is too low.")
    elif other.bound == "upper" and other.nats + warn.noise(other) < found.nats - limit:
      said.append(f"The upper bound of {label} is {show.value(other)}: this value is too high.")
    else:
      beside[other.bound].append(label)
  if found.bound == "neither" and any(beside.values()):
    sides = (
      f"above the lower bound of {_listed(beside['lower'])}" if beside["lower"] else "",
      f"below the upper bound of {_listed(beside['upper'])}" if beside["upper"] else "",
    )
    said.append(f"It lies {' and '.join(filter(None, sides))}, but for noise.")
  return said


class _Shown:
  """Numbers in the unit asked for."""

  def __init__(self, bits: bool):
    self.unit, self.per_unit = ("bits", NATS_PER_BIT) if bits else ("nats", 1.0)

  def number(self, nats: float) -> str:
    return f"{nats / self.per_unit:.3f}"

  def value(self, found: Estimate) -> str:
    return f"{self.number(found.nats)} {self.unit}"

  def interval(self, found: Estimate) -> str:
    if not math.isfinite(found.lower):
      return ", without an interval"
    level = str(found.diagnostics["interval"]).rpartition(", ")[2]
    return f" ({level} interval {self.number(found.lower)} to {self.number(found.upper)})"


def _listed(names: Sequence[str]) -> str:
  return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
