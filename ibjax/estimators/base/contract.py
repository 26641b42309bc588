"""An estimator: a pure function with what it claims, and the road from arrays to an `Estimate`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from ibjax.core.errors import InputError
from ibjax.core.estimate import BOUNDS, INVARIANCES, QUANTITIES, Estimate, Value
from ibjax.estimators.base import intervals, samples, warn

Array = jax.Array
INTERVALS = ("none", "delta", "subsampling", "jackknife", "own")


@dataclasses.dataclass(frozen=True)
class Estimator:
  """What every factory of this room returns; call it with arrays, or trace its `value`.

  An estimate is of all samples together, on any number of devices and processes: its batch scope
  is global. Work on pairs of rows is spread over the devices in tiles (`base/tiles.py`). Estimates
  of parts are got by asking for each; their mean is another number, with another bias.

  Attributes:
    name: the method's name, as in `ibjax estimate --estimators=NAME`.
    value: `value(x, y, z, key) -> Value`, pure; the arrays are checked already, x, y and z are
      [n, d] floats or [n] integer labels, y, z and key may be None as the fields below allow.
    x: what x may be: "real", "labels" or "any".
    y: what y may be: "real", "labels", "any", "none", or with "?" after it when it may be left
      out, as in "labels?".
    z: what is conditioned on, as `y`.
    quantity: one of `QUANTITIES`.
    bound: which bound of it the expectation is: "lower", "upper" or "neither".
    bound_with_y: the same where y may be left out and is given; None: as `bound`.
    interval: "delta" (from `Value.local`), "own" (from `Value.stderr`), "subsampling",
      "jackknife", or "none".
    no_interval: why there is none; a sentence, needed with "none".
    invariances: what does not change the estimate, of `INVARIANCES`; each is tested.
    jittable: whether `value` may be traced by `jax.jit`.
    needs_key: whether it draws random numbers.
    min_n: the least number of samples.
    bounded_by_entropy: whether H(X), H(Y) of labels, and ln n, are upper limits of the quantity.
    level: coverage of the interval.
  """

  name: str
  value: Callable[..., Value]
  x: str = "real"
  y: str = "real"
  z: str = "none"
  quantity: str = "mutual_information"
  bound: str = "neither"
  bound_with_y: str | None = None
  interval: str = "none"
  no_interval: str = ""
  invariances: tuple[str, ...] = ()
  jittable: bool = False
  needs_key: bool = False
  min_n: int = 2
  bounded_by_entropy: bool = True
  level: float = 0.95

  def __post_init__(self) -> None:
    """Raises InputError for a claim that is none."""
    for what, value, options in (
      ("quantity", self.quantity, QUANTITIES),
      ("bound", self.bound, BOUNDS),
      ("bound_with_y", self.bound_with_y or self.bound, BOUNDS),
      ("interval", self.interval, INTERVALS),
      *(("invariance", one, INVARIANCES) for one in self.invariances),
    ):
      if value not in options:
        raise InputError(f"{self.name}: {what} is '{value}', expected one of {', '.join(options)}.")
    if self.interval == "none" and not self.no_interval:
      raise InputError(f"{self.name} offers no interval and does not say why (no_interval).")

  def __call__(self, x, y=None, z=None, *, key: Array | None = None) -> Estimate:
    """Estimates from samples.

    Args:
      x: [n, d] or [n] numbers, or [n] integer labels where the estimator takes them.
      y: the same; left out where the estimator allows it.
      z: what is conditioned on, for conditional estimators.
      key: a typed random key, where the estimator draws random numbers; key(0) when None.

    Returns:
      An `Estimate` in nats, with the warnings found.

    Raises:
      InputError: NaN or infinity, lengths that differ, fewer samples than `min_n`, an array the
        estimator cannot take; says which, where, and what to do.
    """
    given, notes = samples.check(self, x, y, z)
    key = jax.random.key(0) if key is None else key
    found = self.value(*given, key)
    n = len(given[0])
    stderr, lower, upper, why = intervals.interval(self, found, given, key)
    nats = float(found.nats)
    estimate = Estimate(
      nats=nats,
      lower=lower,
      upper=upper,
      stderr=stderr,
      n=n,
      diagnostics={
        "estimator": self.name,
        "quantity": self.quantity,
        "bound": (given[1] is not None and self.bound_with_y) or self.bound,
        "interval": why,
        "warnings": notes + tuple(found.notes),
        **{name: np.asarray(value) for name, value in found.extra.items()},
      },
    )
    if not math.isfinite(nats):
      return estimate.with_notes((warn.not_finite(nats),))
    return estimate.with_notes(warn.cheap(self, estimate, given))
