"""What a method's beta multiplies, and what it is worth in every other convention.

The field writes one trade-off in at least five ways. Here every objective says which is its own
(`LAGRANGIAN` in its file), and `convert` takes a beta from one to another, so that two papers'
betas can be compared at all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ibjax.core import checks
from ibjax.core.errors import InputError, unknown

FORMS = {
  "rate": "min -I(Y;Z) + beta I(X;Z)",
  "information": "min I(X;Z) - beta I(Y;Z)",
  "residual": "min -I(Y;Z) + beta I(X;Z|Y)",
  "gamma": "min I(X;Z|Y) - beta I(Y;Z)",
  "log_gamma": "min I(X;Z|Y) - exp(beta) I(Y;Z)",
}
UNITS = {"nats": 1.0, "bits": math.log(2.0)}


class Lagrangian(NamedTuple):
  """What an objective trades.

  Attributes:
    form: one of `FORMS`, or "none" for an objective without a beta.
    penalty: what stands for I(X;Z), or is minimised beside the distortion, e.g. "I(X;Z)",
      "HSIC(X;Z)". Only a penalty that is an information in nats has a beta that `convert` can
      take elsewhere.
  """

  form: str
  penalty: str = "I(X;Z)"


def convert(beta: float, source: str, target: str) -> float:
  """Takes a beta from one convention of the information bottleneck to another.

  Formula: with b the price of a nat of I(X;Z) in nats of I(Y;Z) ("rate"): "information" has 1/b
  (Tishby), "residual" b / (1 - b) as I(X;Z|Y) = I(X;Z) - I(Y;Z), "gamma" 1/b - 1 (CEB's gamma),
  "log_gamma" log(1/b - 1) (CEB's rho).

  Args:
    beta: in the convention of `source`, which both must have an optimum at: 0 < b < 1 for the
      last three.
    source: one of `FORMS`.
    target: one of `FORMS`.

  Returns:
    The beta at which `target` has the same optima.

  Raises:
    InputError: an unknown form, or a beta that has no equal there (says which range has).

  Example:
    >>> from ibjax.core.lagrangian import convert
    >>> convert(4.0, "information", "rate"), convert(4.0, "information", "gamma")
    (0.25, 3.0)
    >>> convert(0.25, "rate", "residual") == 1 / 3
    True

  Source: Tishby et al. 2000 (arXiv:physics/0004057), eq. 15; Fischer 2020 (arXiv:2002.05379),
  eqs. 11 to 14 and section 2.3.
  """
  for name in (source, target):
    if name not in FORMS:
      raise InputError(unknown("form of a Lagrangian", name, FORMS))
  if not math.isfinite(beta):
    raise InputError(f"beta={beta} is not a finite number.")
  if source != "log_gamma":
    checks.at_least("beta", beta, 0.0, strict=True)
  price = {
    "rate": lambda: beta,
    "information": lambda: 1.0 / beta,
    "residual": lambda: beta / (1.0 + beta),
    "gamma": lambda: 1.0 / (1.0 + beta),
    "log_gamma": lambda: 1.0 / (1.0 + math.exp(beta)),
  }[source]()
  if source == target:
    return beta
  if target not in ("rate", "information") and price >= 1.0:
    raise InputError(
      f"beta={beta:g} of '{source}' ({FORMS[source]}) prices a nat of I(X;Z) at {price:g} nats of "
      f"I(Y;Z); '{target}' ({FORMS[target]}) reaches prices below 1 only. At 1 and above the "
      "optimum keeps nothing, as I(Y;Z) <= I(X;Z)."
    )
  return {
    "rate": lambda: price,
    "information": lambda: 1.0 / price,
    "residual": lambda: price / (1.0 - price),
    "gamma": lambda: 1.0 / price - 1.0,
    "log_gamma": lambda: math.log(1.0 / price - 1.0),
  }[target]()


def in_nats(beta: float, penalty_unit: str, distortion_unit: str) -> float:
  """Takes a beta between terms in bits and nats to one between terms in nats.

  Formula: beta_nats = beta u_penalty / u_distortion, u = 1 for nats and log 2 for bits: a beta
  between two terms of one unit has none.

  Args:
    beta: multiplies the penalty.
    penalty_unit: "nats" or "bits", of the penalty.
    distortion_unit: "nats" or "bits", of what the penalty is added to.

  Returns:
    The beta with both in nats. Wrong by this factor is a known error: a Kullback-Leibler term in
    bits under a natural exponential moves the axis of beta by log 2.

  Raises:
    InputError: an unknown unit.

  Example:
    >>> from ibjax.core.lagrangian import in_nats
    >>> in_nats(1.0, "bits", "bits"), round(in_nats(1.0, "bits", "nats"), 6)
    (1.0, 0.693147)
  """
  for unit in (penalty_unit, distortion_unit):
    if unit not in UNITS:
      raise InputError(unknown("unit", unit, UNITS))
  return beta * (UNITS[penalty_unit] / UNITS[distortion_unit])
