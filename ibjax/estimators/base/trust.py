"""The trust report: an estimate is asked questions whose answers are known, and says what failed.

Mutual information does not change when a variable is measured in other units, cannot rise when
a variable is degraded, doubles over two independent channels and is zero for shuffled rows. An
estimator that fails one of these on the samples at hand cannot be trusted on them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from ibjax.core.errors import IbjaxError, InputError
from ibjax.core.estimate import Estimate, Note
from ibjax.estimators.base import samples, warn
from ibjax.estimators.base.contract import Estimator

Array = jax.Array
Given = tuple[Any, Any, Any]
# Changes below these, in nats and as a share of the estimate, are not told.
LEAST_NATS = 0.05
LEAST_SHARE = 0.1
SCALE = 10.0


def trust(
  estimator: Estimator, x: Any, y: Any = None, z: Any = None, *, key: Any = None, rows: int = 5000
) -> Estimate:
  """Estimates, then asks the estimator for consistency on the same samples.

  The re-estimates cost about six times the estimate. `diagnostics["checks"]` holds the numbers
  found, passed or not: name -> (expected, found) in nats.

  Args:
    estimator: an `Estimator`.
    x: samples, as the estimator takes them.
    y: samples.
    z: samples.
    key: a typed random key; key(0) when None.
    rows: re-estimates use at most so many rows, drawn at random.

  Returns:
    The `Estimate` on all rows, with one warning for each check that failed: "seed", "scale",
    "affine", "not_converged", "independence", "data_processing", "additivity".

  Raises:
    InputError: samples the estimator refuses; fewer than 20 rows for the checks.

  Example:
    >>> import numpy as np
    >>> from ibjax.core.estimate import Value
    >>> from ibjax.estimators.base.contract import Estimator
    >>> from ibjax.estimators.base.trust import trust
    >>> spread = Estimator(  # no measure of information, though it calls itself one
    ...   name="spread", value=lambda x, y, z, key: Value(np.mean(x * y)), no_interval="a toy"
    ... )
    >>> x = np.random.default_rng(0).normal(size=(500, 1))
    >>> [note.code for note in trust(spread, x, x).warnings]
    ['scale', 'additivity']
  """
  if rows < 20:
    raise InputError(f"rows is {rows}; the checks need at least 20 rows.")
  key = jax.random.key(0) if key is None else key
  found = estimator(x, y, z, key=key)
  if not math.isfinite(found.nats) or estimator.quantity in ("entropy", "dimension"):
    return found
  given, _ = samples.check(estimator, x, y, z)
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  n = len(given[0])
  check = _Checks(estimator, key)
  if n > rows:
    given = samples.take(given, rng.permutation(n)[:rows])
    nats = check.nats(given)
  else:
    nats = found.nats
  order = rng.permutation(len(given[0]))
  half = len(order) // 2
  halves = [samples.take(given, order[:half]), samples.take(given, order[half : 2 * half])]
  parts = [check.nats(part) for part in halves]
  check.noise = warn.noise(found) * math.sqrt(n / len(order))
  if math.isfinite(parts[0] - parts[1]):
    # It has twice the standard error of the whole's estimate.
    check.noise = max(check.noise, abs(parts[0] - parts[1]))

  if estimator.needs_key:
    check.same("seed", nats, check.nats(given, seed=1), "with another random seed", _SEED)
  for code, how in (("scale", _scaled), ("affine", _turned)):
    if not {code, "affine"} & set(estimator.invariances) and (new := how(given, rng)) is not None:
      check.same(code, nats, check.nats(new), _WHERE[code], _ADVICE[code])
  check.same("not_converged", nats, float(np.mean(parts)), "at half the samples", _FEW)
  if given[1] is not None:
    check.zero(nats, check.nats(_shuffled(given, rng)))
    if estimator.quantity != "dependence":
      check.falls(nats, check.nats(_degraded(given, rng)))
      check.doubles(float(np.mean(parts)), check.nats(_channels(halves)))
  return _with(found, check)


_SEED = "the result depends on chance. Average over several seeds, and report their spread."
_FEW = "it still moves with n, so expect bias. Give more samples, or use fewer dimensions."
_WHERE = {
  "scale": f"after x is multiplied by {SCALE:g}",
  "affine": "after the columns are turned and stretched",
}
_ADVICE = {
  "scale": "mutual information has no units. Standardise each column, and say so.",
  "affine": "mutual information does not depend on the axes. Whiten x and y, or use an estimator "
  "that is invariant, as gaussian.",
}


class _Checks:
  """Re-estimates, and the notes on those that contradict what is known."""

  def __init__(self, estimator: Estimator, key: Array):
    self.estimator, self.key = estimator, key
    self.noise = 0.0  # two standard errors
    self.notes: list[Note] = []
    self.numbers: dict[str, tuple[float, float]] = {}

  def nats(self, given: Given, seed: int = 0) -> float:
    """The value, or NaN where the estimator refuses such samples."""
    if len(given[0]) < self.estimator.min_n:
      return math.nan
    key = jax.random.fold_in(self.key, seed) if seed else self.key
    try:
      return float(self.estimator.value(*given, key).nats)
    except IbjaxError:
      return math.nan

  def same(self, code: str, nats: float, again: float, where: str, advice: str) -> None:
    limit = self._limit(nats)
    if code in ("scale", "affine"):  # the same rows: no noise but rounding, so no room for it
      limit = max(LEAST_NATS, LEAST_SHARE * abs(nats))
    if self._told(code, nats, again) and abs(again - nats) > limit:
      self._note(code, f"the estimate is {again:.3f} {where}, {nats:.3f} before: {advice}")

  def zero(self, nats: float, shuffled: float) -> None:
    if self._told("independence", 0.0, shuffled) and abs(shuffled) > self._limit(nats):
      self._note(
        "independence",
        f"the estimate is {shuffled:.3f} when the rows of y are shuffled, where nothing is left: "
        f"about so much of {nats:.3f} may be bias. Give more samples, or a simpler estimator.",
      )

  def falls(self, nats: float, degraded: float) -> None:
    if self._told("data_processing", nats, degraded) and degraded > nats + self._limit(nats):
      self._note(
        "data_processing",
        f"the estimate rises from {nats:.3f} to {degraded:.3f} when y is degraded; processing "
        "cannot create information. Do not compare layers or features by it.",
      )

  def doubles(self, nats: float, both: float) -> None:
    limit = self._limit(2.0 * nats)
    if self._told("additivity", 2.0 * nats, both) and abs(both - 2.0 * nats) > limit:
      self._note(
        "additivity",
        f"two independent copies of the channel, half the rows each, give {both:.3f}; expected is "
        f"twice the {nats:.3f} of one. The estimate is biased at this dimension and so many rows.",
      )

  def _limit(self, nats: float) -> float:
    return max(1.5 * self.noise, LEAST_NATS, LEAST_SHARE * abs(nats))

  def _told(self, code: str, expected: float, found: float) -> bool:
    """Keeps the numbers; whether there are two to compare."""
    if math.isnan(expected) or math.isnan(found):
      return False
    self.numbers[code] = (expected, found)
    return True

  def _note(self, code: str, text: str) -> None:
    self.notes.append(Note(code, text))


def _with(found: Estimate, check: _Checks) -> Estimate:
  found = dataclasses.replace(
    found, diagnostics={**found.diagnostics, "checks": dict(check.numbers)}
  )
  return found.with_notes(tuple(check.notes))


def _real(array: Any) -> bool:
  return array is not None and array.ndim == 2


def _scaled(given: Given, rng: np.random.Generator) -> Given | None:
  """x in other units; y where x is labels."""
  x, y, z = given
  if _real(x):
    return x * SCALE, y, z
  return (x, y * SCALE, z) if _real(y) else None


def _turned(given: Given, rng: np.random.Generator) -> Given | None:
  """Another basis for the columns of x and of y; None where each has one column."""

  def one(array):
    if not _real(array) or array.shape[1] < 2:
      return array
    d = array.shape[1]
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return array @ (turn * np.linspace(0.5, 2.0, d))

  x, y, z = given
  if not any(_real(a) and a.shape[1] > 1 for a in (x, y)):
    return None
  return one(x), one(y), z


def _shuffled(given: Given, rng: np.random.Generator) -> Given:
  x, y, z = given
  return x, y[rng.permutation(len(y))], z


def _degraded(given: Given, rng: np.random.Generator) -> Given:
  """y and noise as large as itself; labels: each drawn anew with probability one half."""
  x, y, z = given
  if _real(y):
    return x, y + np.std(y, axis=0) * rng.normal(size=y.shape), z
  anew = rng.random(len(y)) < 0.5
  return x, np.where(anew, y[rng.permutation(len(y))], y), z


def _channels(halves: list[Given]) -> Given:
  """Two independent channels side by side: rows i of the halves are one row."""

  def join(a, b):
    if a is None:
      return None
    if _real(a):
      return np.concatenate([a, b], axis=1)
    return samples.renumbered(a * (b.max() + 1) + b)

  x, y, z = (join(a, b) for a, b in zip(*halves))
  return x, y, z
