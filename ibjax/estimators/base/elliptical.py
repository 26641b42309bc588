"""Elliptical copulas: the Gaussian and the Student-t one, fitted to ranks, as density ratios."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

ITERATIONS = 12  # of the scatter's fixed point, which starts at the last fit's or the Gaussian's
MOST = 1.0  # 1 / degrees of freedom: from the Gaussian, 0, to the Cauchy, 1
RIDGE = 1e-9


class Elliptical(NamedTuple):
  """A fitted copula of d = dx + dy columns, the first dx of which are x.

  Attributes:
    tail: one over the degrees of freedom; 0 is the Gaussian copula.
    scatter: [d, d] correlation matrix.
    dx: how many columns are x.
    nats: the copula's own mutual information, nats.
    log_likelihood: of the rows it was fitted to, nats.
  """

  tail: float
  scatter: np.ndarray
  dx: int
  nats: float
  log_likelihood: float


class Side(NamedTuple):
  """What one variable brings to the log density ratio of pairs, see `log_ratio`.

  Attributes:
    vector: [n, dy] whose inner products give the cross term.
    joint: [n] its own part of the joint quadratic form.
    own: [n] the quadratic form of its own margin.
  """

  vector: np.ndarray
  joint: np.ndarray
  own: np.ndarray


def levels(values: np.ndarray) -> np.ndarray:
  """Replaces each value by the level of its rank in its column; ties share theirs.

  Args:
    values: [n, d].

  Returns:
    [n, d] in (0, 1), (rank - 1/2) / n: the same for any increasing function of a column.
  """
  return (stats.rankdata(values, axis=0) - 0.5) / len(values)


def quantiles(u: np.ndarray, tail: float) -> np.ndarray:
  """Quantiles of the standard normal, or of Student's t.

  Args:
    u: levels in (0, 1).
    tail: one over the degrees of freedom, 0 for the normal.

  Returns:
    Quantiles, shape of u.
  """
  if tail == 0.0:
    return special.ndtri(u)
  # Levels of ranks are few: each is looked up once, not once per column.
  known, where = np.unique(u, return_inverse=True)
  return special.stdtrit(1.0 / tail, known)[where].reshape(u.shape)


def fit(u: np.ndarray, dx: int, tail: float | None = None) -> Elliptical:
  """Fits by maximum likelihood, given the ranks (pseudo-likelihood).

  Args:
    u: [n, d] levels of ranks, see `levels`; the first dx columns are x.
    dx: how many.
    tail: one over the degrees of freedom; None fits it in [0, 1] too.

  Returns:
    The copula.
  """
  if tail is not None:
    return _fit(u, dx, tail, None)
  gaussian = _fit(u, dx, 0.0, None)
  last = [gaussian]

  def cost(value: float) -> float:
    last.append(_fit(u, dx, float(value), last[-1].scatter))
    return -last[-1].log_likelihood / len(u)

  optimize.minimize_scalar(cost, bounds=(1e-3, MOST), method="bounded", options={"xatol": 2e-3})
  last.append(_fit(u, dx, MOST, last[-1].scatter))  # a bounded search never looks at its bounds
  found = max(last[1:], key=lambda one: one.log_likelihood)
  # Half the log of n for the further parameter: the Gaussian stays when it does as well.
  better = found.log_likelihood - gaussian.log_likelihood > 0.5 * math.log(len(u))
  return found if better else gaussian


def _fit(u: np.ndarray, dx: int, tail: float, start: np.ndarray | None) -> Elliptical:
  q = quantiles(u, tail)
  n, d = q.shape
  if start is None:
    normal = quantiles(u, 0.0)
    start = _correlation(normal.T @ normal / n)
  scatter = start
  if tail > 0.0:
    for _ in range(ITERATIONS):
      weight = (1.0 + tail * d) / (1.0 + tail * _form(q, np.linalg.inv(scatter)))
      scatter = _correlation((q * weight[:, None]).T @ q / n)
  joint = _log_density(q, scatter, tail)
  margins = sum(_log_density(q[:, [i]], np.eye(1), tail) for i in range(d))
  return Elliptical(tail, scatter, dx, _nats(scatter, dx, tail), float(np.sum(joint - margins)))


def _correlation(scatter: np.ndarray) -> np.ndarray:
  spread = np.sqrt(np.diag(scatter))
  scatter = scatter / np.outer(spread, spread)
  return (scatter + RIDGE * np.eye(len(scatter))) / (1.0 + RIDGE)


def _form(q: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  return np.sum((q @ matrix) * q, axis=1)


def _log_constant(d: int, tail: float) -> float:
  """Log density at 0 of Student's t in d dimensions with unit scatter."""
  if tail == 0.0:
    return -0.5 * d * math.log(2.0 * math.pi)
  nu = 1.0 / tail
  return float(
    special.gammaln(0.5 * (nu + d)) - special.gammaln(0.5 * nu) - 0.5 * d * math.log(nu * math.pi)
  )


def _log_density(q: np.ndarray, scatter: np.ndarray, tail: float) -> np.ndarray:
  d = len(scatter)
  form = _form(q, np.linalg.inv(scatter))
  exponent = 0.5 * form if tail == 0.0 else 0.5 * (1.0 / tail + d) * np.log1p(tail * form)
  return _log_constant(d, tail) - 0.5 * np.linalg.slogdet(scatter)[1] - exponent


def _nats(scatter: np.ndarray, dx: int, tail: float) -> float:
  logdet = lambda matrix: float(np.linalg.slogdet(matrix)[1])  # noqa: E731
  nats = 0.5 * (logdet(scatter[:dx, :dx]) + logdet(scatter[dx:, dx:]) - logdet(scatter))
  if tail == 0.0:
    return nats

  def entropy(d: int) -> float:  # of Student's t with unit scatter
    nu = 1.0 / tail
    spread = special.digamma(0.5 * (nu + d)) - special.digamma(0.5 * nu)
    return float(0.5 * (nu + d) * spread - _log_constant(d, tail))

  dy = len(scatter) - dx
  return nats + entropy(dx) + entropy(dy) - entropy(dx + dy)


def excess(dx: int, dy: int, n: int) -> float:
  """By how much the Gaussian plug-in exceeds the information on average, whatever that is.

  Formula: (1/2)[s(dx) + s(dy) - s(dx+dy)], s(d) = sum_{i=1..d} psi((n-i)/2): the mean of the log
  determinant of a Wishart matrix with n-1 degrees of freedom.

  Args:
    dx: columns of x.
    dy: columns of y.
    n: samples, more than dx + dy.

  Returns:
    Nats; about dx dy / (2 n).

  Example:
    >>> from ibjax.estimators.base.elliptical import excess
    >>> round(excess(5, 5, 1000), 4)
    0.0126
  """
  s = lambda d: float(np.sum(special.digamma(0.5 * (n - np.arange(1, d + 1)))))  # noqa: E731
  return 0.5 * (s(dx) + s(dy) - s(dx + dy))


def sides(copula: Elliptical, u: np.ndarray) -> tuple[Side, Side]:
  """Splits the log density ratio of pairs into what x brings and what y brings.

  Args:
    copula: fitted, perhaps to other rows.
    u: [n, d] levels.

  Returns:
    (side of x, side of y): with joint(i, j) = a_i + b_j + 2 v_i . w_j the ratio follows.
  """
  q = quantiles(u, copula.tail)
  dx = copula.dx
  x, y = q[:, :dx], q[:, dx:]
  inverse = np.linalg.inv(copula.scatter)
  own_x, own_y = np.linalg.inv(copula.scatter[:dx, :dx]), np.linalg.inv(copula.scatter[dx:, dx:])
  left = Side(x @ inverse[:dx, dx:], _form(x, inverse[:dx, :dx]), _form(x, own_x))
  return left, Side(y, _form(y, inverse[dx:, dx:]), _form(y, own_y))
