"""Entropy of labels from their counts, with the corrections for few samples."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

CORRECTIONS = ("plug_in", "miller_madow", "chao_shen", "nsb")


def entropy(counts: np.ndarray, correction: str, classes: int) -> float:
  """Estimates the entropy of the distribution that counts were drawn from.

  Formula: with n the sum, p = counts / n and m the number of counts above 0,
  "plug_in": -sum p log p; "miller_madow": plus (m - 1)/(2 n); "chao_shen": with the coverage
  C = 1 - f/n, f the number of counts of 1 (n - 1 if all are), -sum C p log(C p)/(1 - (1 - C p)^n);
  "nsb": see `nsb`.

  Args:
    counts: integers >= 0, with a sum above 0.
    correction: one of `CORRECTIONS`.
    classes: how many labels there are in all, for "nsb".

  Returns:
    Nats.
  """
  seen = np.asarray(counts, np.float64)
  seen = seen[seen > 0]
  n = seen.sum()
  if correction == "nsb":
    return nsb(seen, classes)[0]
  if correction == "chao_shen":
    singles = np.sum(seen == 1)
    p = (1.0 - min(singles, n - 1) / n) * seen / n
    return float(-np.sum(p * np.log(p) / -np.expm1(n * np.log1p(-np.minimum(p, 1 - 1e-16)))))
  plug_in = float(-np.sum(seen / n * np.log(seen / n)))
  return plug_in + (len(seen) - 1) / (2 * n) if correction == "miller_madow" else plug_in


def nsb(counts: np.ndarray, classes: int) -> tuple[float, float]:
  """The Nemenman-Shafee-Bialek estimate: a mixture of Dirichlet priors, nearly flat in entropy.

  Formula: posterior mean and standard deviation of H under Dirichlet priors of concentration b
  for each of K classes, mixed over b with the density d/db E[H | b] of the prior mean
  psi(K b + 1) - psi(b + 1); the integral over b by Gauss-Legendre quadrature in log b.

  Args:
    counts: those above 0; classes not seen may be left out.
    classes: K, at least the number of counts.

  Returns:
    (mean, sd), nats.
  """
  n, k = float(np.sum(counts)), classes
  if k == 1:
    return 0.0, 0.0
  values, times = np.unique(np.append(counts, 0), return_counts=True)
  times[0] = k - len(counts)
  values = values.astype(np.float64)

  def log_density(log_b):
    """Of the posterior, in log b, not normalised."""
    b = np.exp(log_b)[:, None]
    prior = k * special.polygamma(1, k * b[:, 0] + 1) - special.polygamma(1, b[:, 0] + 1)
    evidence = np.sum(times * _log_rising(b, values), axis=1) - _log_rising(k * b[:, 0], n)
    return evidence + np.log(np.maximum(prior, 1e-300)) + log_b

  # The density is found on a coarse grid first: with many classes it is a narrow peak. Beyond the
  # ends of the grid the prior has less than 1e-9 of its mass.
  grid = np.linspace(math.log(1e-10 / k), math.log(1e9 * max(n, k)), 2000)
  coarse = log_density(grid)
  high = np.flatnonzero(coarse > coarse.max() - 45.0)
  low, high = grid[max(high[0] - 1, 0)], grid[min(high[-1] + 1, len(grid) - 1)]
  nodes, weights = np.polynomial.legendre.leggauss(400)
  log_b = low + 0.5 * (nodes + 1.0) * (high - low)
  log_weight = log_density(log_b) + np.log(weights)
  weight = np.exp(log_weight - log_weight.max())
  weight /= weight.sum()
  b = np.exp(log_b)[:, None]
  mean, square = _dirichlet_moments(values, times, b, n + k * b[:, 0])
  first = float(weight @ mean)
  return first, math.sqrt(max(float(weight @ square) - first**2, 0.0))


def _log_rising(b: np.ndarray, n: np.ndarray | float) -> np.ndarray:
  """log Gamma(b + n)/Gamma(b), by the beta function, which does not cancel for large b."""
  some = np.maximum(n, 1)
  return np.where(np.equal(n, 0), 0.0, special.gammaln(some) - special.betaln(b, some))


def _dirichlet_moments(
  values: np.ndarray, times: np.ndarray, b: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """E[H] and E[H^2] under Dirichlet(values + b), each value standing for `times` classes."""
  a = values + b
  mean = special.digamma(total + 1) - np.sum(times * a * special.digamma(a + 1), axis=1) / total
  # sum over i != j of a_i a_j (u_i u_j - psi'(total + 2)), as the square less the diagonal.
  u = special.digamma(a + 1) - special.digamma(total + 2)[:, None]
  bend = special.polygamma(1, total + 2)
  au = np.sum(times * a * u, axis=1)
  cross = au**2 - np.sum(times * (a * u) ** 2, axis=1)
  cross -= bend * (np.sum(times * a, axis=1) ** 2 - np.sum(times * a**2, axis=1))
  v = special.digamma(a + 2) - special.digamma(total + 2)[:, None]
  own = np.sum(times * a * (a + 1) * (v**2 + special.polygamma(1, a + 2) - bend[:, None]), axis=1)
  return mean, (cross + own) / (total * (total + 1))
