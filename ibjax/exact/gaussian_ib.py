"""The Gaussian information bottleneck: the exact optimum for jointly Gaussian X and Y.

The optimal code is T = A X + noise, noise ~ N(0, I), whose rows of A are directions of X that
come in one by one as beta passes their critical values. Everything follows from the canonical
correlations rho_i of X and Y: the paper's eigenvalues are lambda_i = 1 - rho_i^2.

The paper's beta multiplies I(T;Y): it minimises I(X;T) - beta I(T;Y). The objectives of this
project multiply the rate, and minimise distortion + beta rate, which is I(X;T) beta - I(T;Y) up
to the constant H(Y) when the bounds are tight. So beta here = 1 / beta there.

Source: Chechik, Globerson, Tishby and Weiss 2005, "Information bottleneck for Gaussian variables"
(JMLR 6:165-188).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class GaussianIb(NamedTuple):
  """A jointly Gaussian pair, solved.

  Attributes:
    eigenvalues: [dx] of Sigma_{x|y} Sigma_x^-1, ascending, in (0, 1].
    critical_betas: [dx] beta at which each direction comes in, 1 / (1 - eigenvalue); infinite for
      a direction that knows nothing of Y.
    directions: [dx, dx] rows, the left eigenvectors v_i, scaled to v_i' Sigma_x v_i = 1.
    information_nats: I(X;Y).
  """

  eigenvalues: np.ndarray
  critical_betas: np.ndarray
  directions: np.ndarray
  information_nats: float


def gaussian_ib(cov_x: np.ndarray, cov_xy: np.ndarray, cov_y: np.ndarray) -> GaussianIb:
  """Solves the eigenproblem that all optima of a jointly Gaussian pair share.

  Formula: v_i' Sigma_{x|y} Sigma_x^-1 = lambda_i v_i'; beta_i = 1 / (1 - lambda_i);
  I(X;Y) = -1/2 sum_i log lambda_i.

  Args:
    cov_x: [dx, dx] covariance of X.
    cov_xy: [dx, dy] covariance of X with Y.
    cov_y: [dy, dy] covariance of Y.

  Returns:
    A `GaussianIb`, float64.

  Raises:
    ValueError: shapes that do not fit, or a joint covariance that is not positive definite (a
      part of Y that X determines has infinite information).

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.gaussian_ib import gaussian_ib
    >>> one = np.eye(1)
    >>> problem = gaussian_ib(one, 0.6 * one, one)
    >>> problem.eigenvalues.round(6).tolist(), round(problem.information_nats, 6)
    ([0.64], 0.223144)

  Source: Chechik et al. 2005, theorem 3.1 and section 3.
  """
  cov_x, cov_xy, cov_y = (np.asarray(cov, np.float64) for cov in (cov_x, cov_xy, cov_y))
  dx, dy = cov_xy.shape
  if cov_x.shape != (dx, dx) or cov_y.shape != (dy, dy):
    raise ValueError(
      f"cov_x has shape {list(cov_x.shape)} and cov_y {list(cov_y.shape)}, expected [{dx}, {dx}] "
      f"and [{dy}, {dy}] for a cov_xy of [{dx}, {dy}]."
    )
  try:
    np.linalg.cholesky(np.block([[cov_x, cov_xy], [cov_xy.T, cov_y]]))
  except np.linalg.LinAlgError:
    raise ValueError("the joint covariance of X and Y is not positive definite.") from None
  # With X whitened, Sigma_{x|y} is I - M, and M's eigenvalues are the squared correlations.
  whiten = np.linalg.inv(np.linalg.cholesky(cov_x))
  half = np.linalg.solve(np.linalg.cholesky(cov_y), (whiten @ cov_xy).T)
  vectors, correlations, _ = np.linalg.svd(half.T)
  squared = np.zeros(dx)
  squared[: len(correlations)] = correlations**2
  eigenvalues = 1.0 - squared
  with np.errstate(divide="ignore"):
    critical = np.where(squared > 0, 1.0 / squared, np.inf)
  information = -0.5 * float(np.sum(np.log1p(-squared)))
  return GaussianIb(eigenvalues, critical, vectors.T @ whiten, information)


def projection(problem: GaussianIb, beta: float) -> np.ndarray:
  """The optimal A(beta) of T = A X + noise with noise ~ N(0, I).

  Formula: row i is alpha_i v_i', alpha_i^2 = (beta (1 - lambda_i) - 1) / (lambda_i r_i) with
  r_i = v_i' Sigma_x v_i = 1, and 0 below the critical beta.

  Args:
    problem: from `gaussian_ib`.
    beta: weight of I(T;Y), the inverse of this project's.

  Returns:
    [dx, dx]; the rows of directions that are not in use are 0.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.gaussian_ib import gaussian_ib, projection
    >>> problem = gaussian_ib(np.eye(1), 0.6 * np.eye(1), np.eye(1))
    >>> [round(abs(float(projection(problem, beta)[0, 0])), 6) for beta in (2.0, 1.64 / 0.36)]
    [0.0, 1.0]

  Source: Chechik et al. 2005, theorem 3.1 (eqs. 9 and 10).
  """
  gain = (beta * (1.0 - problem.eigenvalues) - 1.0) / problem.eigenvalues
  return np.sqrt(np.maximum(gain, 0.0))[:, None] * problem.directions


def informations(problem: GaussianIb, beta: float) -> tuple[float, float]:
  """The optimum's information at one beta: what the code takes of X, and keeps of Y.

  Formula: I(X;T) = 1/2 sum_i log((beta - 1) (1 - lambda_i) / lambda_i),
  I(T;Y) = I(X;T) - 1/2 sum_i log(beta (1 - lambda_i)), over the i with beta > beta_i.

  Args:
    problem: from `gaussian_ib`.
    beta: weight of I(T;Y), the inverse of this project's.

  Returns:
    (I(X;T), I(T;Y)) in nats; (0, 0) up to the first critical beta.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.gaussian_ib import gaussian_ib, informations
    >>> problem = gaussian_ib(np.eye(1), 0.6 * np.eye(1), np.eye(1))
    >>> informations(problem, 2.7)
    (0.0, 0.0)
    >>> round(informations(problem, 1e9)[1], 6)
    0.223144

  Source: Chechik et al. 2005, section 5 (the information curve).
  """
  used = problem.eigenvalues[beta > problem.critical_betas]
  rate = 0.5 * np.sum(np.log((beta - 1.0) * (1.0 - used) / used))
  return float(rate), float(rate - 0.5 * np.sum(np.log(beta * (1.0 - used))))


def curve(problem: GaussianIb, rate: np.ndarray) -> np.ndarray:
  """The information curve: the most that a code of a given rate can keep of Y.

  Formula: with n directions in use, I(T;Y) = R - n/2 log(prod_i (1 - lambda_i)^(1/n) +
  e^(2R/n) prod_i lambda_i^(1/n)), R = I(X;T). The (n+1)-th comes in at
  R = 1/2 sum_{i<=n} log(lambda_{n+1} (1 - lambda_i) / (lambda_i (1 - lambda_{n+1}))).

  Args:
    problem: from `gaussian_ib`.
    rate: I(X;T) in nats, any shape, at least 0.

  Returns:
    I(T;Y) in nats, the same shape, between 0 and I(X;Y).

  Raises:
    ValueError: a negative rate.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.gaussian_ib import curve, gaussian_ib
    >>> problem = gaussian_ib(np.eye(1), 0.6 * np.eye(1), np.eye(1))
    >>> curve(problem, np.array([0.0, 0.5 * np.log(2), 50.0])).round(6).tolist()
    [0.0, 0.099225, 0.223144]

  Source: Chechik et al. 2005, section 5, the closed form of the curve and its segments.
  """
  rate = np.asarray(rate, np.float64)
  if np.any(rate < 0):
    raise ValueError(f"a rate is at least 0 nats, found {rate.min():g}.")
  useful = problem.eigenvalues[problem.eigenvalues < 1.0]
  log_odds = np.log1p(-useful) - np.log(useful)
  # Rates at which each direction comes in, ascending like the eigenvalues; the first at 0.
  starts = 0.5 * (np.cumsum(log_odds) - np.arange(1, len(useful) + 1) * log_odds)
  kept = np.zeros(rate.shape)
  for n in range(1, len(useful) + 1):
    known = np.mean(np.log1p(-useful[:n]))
    unknown = np.mean(np.log(useful[:n]))
    # R - n/2 log(e^known + e^(2R/n + unknown)), without the overflow of e^(2R/n).
    segment = -0.5 * n * np.logaddexp(known - 2.0 * rate / n, unknown)
    kept = np.where(rate >= starts[n - 1], segment, kept)
  return np.maximum(kept, 0.0)  # rounding at a rate of 0
