"""Convex information bottlenecks: a convex price of the rate, so that each beta is one point.

Where Y is a function of X the curve is I(T;Y) = min(I(X;T), H(Y)), straight up to its corner, and
the plain Lagrangian finds its ends only. With a strictly convex price u every point of the curve
is the only optimum of some beta. Beta is the price here: max I(T;Y) - beta u(I(X;T)), as in the
objectives of this project and in both papers; rates are in nats.

Source: Kolchinsky, Tracey and Van Kuyk 2019, "Caveats for information bottleneck in deterministic
scenarios" (arXiv:1808.07593), the squared price; Rodriguez Galvez, Thobaben and Skoglund 2020,
"The convex information bottleneck Lagrangian" (Entropy 22(1):98, arXiv:1911.11000), any price.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError


class Price(NamedTuple):
  """A price u(r) of a rate of r nats, rising and strictly convex for r > 0.

  Attributes:
    value: u.
    slope: u'.
    rate: the rate of a slope, the inverse of u'; of a slope below u'(0) it is 0.
  """

  value: Callable[[Any], Any]
  slope: Callable[[Any], Any]
  rate: Callable[[Any], Any]


def power(order: float = 1.0) -> Price:
  """The power price; order 1 is the squared information bottleneck.

  Formula: u(r) = r^(1 + order).

  Args:
    order: greater than 0.

  Returns:
    A `Price`.

  Raises:
    InputError: an order that is not positive.

  Example:
    >>> from ibjax.exact.convex_ib import power
    >>> float(power(1.0).value(3.0))
    9.0

  Source: Rodriguez Galvez et al. 2020, the power IB Lagrangian.
  """
  checks.at_least("order", order, 0.0, strict=True)
  return Price(
    lambda r: np.power(r, 1.0 + order),
    lambda r: (1.0 + order) * np.power(r, order),
    lambda s: np.power(np.maximum(s, 0.0) / (1.0 + order), 1.0 / order),
  )


def squared() -> Price:
  """The squared price, u(r) = r^2.

  Returns:
    A `Price`.

  Source: Kolchinsky et al. 2019, the squared IB functional.
  """
  return power(1.0)


def exponential(rate: float = 1.0) -> Price:
  """The exponential price.

  Formula: u(r) = exp(rate r).

  Args:
    rate: of the growth, per nat, greater than 0.

  Returns:
    A `Price`.

  Raises:
    InputError: a rate that is not positive.

  Example:
    >>> from ibjax.exact.convex_ib import exponential
    >>> float(exponential(2.0).slope(0.0))
    2.0

  Source: Rodriguez Galvez et al. 2020, the exponential IB Lagrangian.
  """
  checks.at_least("rate", rate, 0.0, strict=True)
  return Price(
    lambda r: np.exp(rate * np.asarray(r)),
    lambda r: rate * np.exp(rate * np.asarray(r)),
    lambda s: np.log(np.maximum(np.asarray(s) / rate, 1.0)) / rate,
  )


def deterministic_curve(rate: np.ndarray, label_entropy: float) -> np.ndarray:
  """The information curve where Y is a function of X.

  Formula: I(T;Y) = min(I(X;T), H(Y)).

  Args:
    rate: I(X;T) in nats, at least 0, any shape.
    label_entropy: H(Y) in nats.

  Returns:
    I(T;Y) in nats.

  Raises:
    InputError: a negative rate.

  Example:
    >>> from ibjax.exact.convex_ib import deterministic_curve
    >>> deterministic_curve([0.2, 3.0], 1.5).tolist()
    [0.2, 1.5]

  Source: Kolchinsky et al. 2019, the curve where Y is a function of X.
  """
  rate = np.asarray(rate, np.float64)
  if np.any(rate < 0):
    raise InputError(f"a rate is at least 0 nats, found {rate.min():g}.")
  return np.minimum(rate, label_entropy)


def deterministic_rate(beta: np.ndarray, price: Price, label_entropy: float) -> np.ndarray:
  """The one optimum of each beta where Y is a function of X: its I(X;T), which is I(T;Y).

  Formula: r = min(H(Y), (u')^-1(1 / beta)).

  Args:
    beta: price of u, greater than 0, any shape.
    price: from `power`, `squared` or `exponential`.
    label_entropy: H(Y) in nats.

  Returns:
    Nats, 0 to H(Y). Betas inside `beta_range` give values strictly between.

  Raises:
    InputError: a beta that is not positive.

  Example:
    >>> from ibjax.exact.convex_ib import deterministic_rate, squared
    >>> deterministic_rate([10.0, 1.0, 0.1], squared(), 1.0).tolist()  # 1 / (2 beta)
    [0.05, 0.5, 1.0]

  Source: Rodriguez Galvez et al. 2020, the mapping of beta to the rate of a deterministic Y.
  """
  beta = np.asarray(beta, np.float64)
  if not np.all(beta > 0):
    raise InputError(
      f"beta is {beta.min():g}, expected greater than 0: it is the price of u(I(X;T)), and at 0 "
      "any rate of at least H(Y) is an optimum."
    )
  return np.minimum(price.rate(1.0 / beta), label_entropy)


def beta_range(price: Price, label_entropy: float) -> tuple[float, float]:
  """The betas whose optima lie strictly inside the curve where Y is a function of X.

  Formula: (1 / u'(H(Y)), 1 / u'(0)).

  Args:
    price: see `deterministic_rate`.
    label_entropy: H(Y) in nats.

  Returns:
    (low, high); high is infinite for a price that starts flat.

  Example:
    >>> from ibjax.exact.convex_ib import beta_range, exponential, squared
    >>> beta_range(squared(), 0.5), beta_range(exponential(1.0), 0.0)
    ((1.0, inf), (1.0, 1.0))

  Source: Rodriguez Galvez et al. 2020, the range of beta that goes with the mapping.
  """
  ends = []
  for rate in (label_entropy, 0.0):
    slope = float(price.slope(rate))
    ends.append(1.0 / slope if slope > 0 else np.inf)
  return ends[0], ends[1]


def plain_beta(beta: np.ndarray, rate: np.ndarray, price: Price) -> np.ndarray:
  """The price of a nat in the plain Lagrangian whose optimum is the same point, on any curve.

  Formula: beta u'(r), the slope of the curve at the optimum; Tishby's beta is one over it.

  Args:
    beta: price of u.
    rate: I(X;T) of the optimum, nats.
    price: see `deterministic_rate`.

  Returns:
    The price of a nat; at most 1.

  Example:
    >>> from ibjax.exact.convex_ib import plain_beta, squared
    >>> float(plain_beta(0.5, 0.3, squared()))
    0.3

  Source: Rodriguez Galvez et al. 2020, the mapping between the convex and the plain multiplier.
  """
  return np.asarray(beta) * price.slope(rate)


def convex_optimum(rates: np.ndarray, relevances: np.ndarray, beta: float, price: Price) -> int:
  """The point of a solved curve that is best under a convex price.

  Args:
    rates: [n] I(X;T) of points of the curve, nats.
    relevances: [n] their I(T;Y).
    beta: price of u, at least 0.
    price: see `deterministic_rate`.

  Returns:
    Its index.

  Raises:
    InputError: a negative beta.

  Example:
    >>> from ibjax.exact.convex_ib import convex_optimum, squared
    >>> convex_optimum([0.0, 0.25, 0.5], [0.0, 0.25, 0.5], 2.0, squared())
    1
  """
  checks.at_least("beta", beta, 0.0)
  return int(np.argmax(np.asarray(relevances) - beta * price.value(np.asarray(rates))))
