"""Jointly Gaussian pairs: independent pairs of coordinates, equal correlations, sparse ones."""

from __future__ import annotations

import math

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.data.synthetic.task import Arrays, Task, family, joint


def entropy(covariance: np.ndarray) -> float:
  """Differential entropy of a Gaussian.

  Formula: h = 1/2 log det(2 pi e Sigma).

  Args:
    covariance: [d, d], positive definite.

  Returns:
    Nats.
  """
  log_det = float(np.linalg.slogdet(covariance)[1])
  return 0.5 * (len(covariance) * (math.log(2.0 * math.pi) + 1.0) + log_det)


def rotation(rng: np.random.Generator, size: int) -> np.ndarray:
  """Draws a rotation or reflection, uniformly.

  Args:
    rng: where the randomness comes from.
    size: dimension.

  Returns:
    [size, size], orthogonal.
  """
  q, r = np.linalg.qr(rng.standard_normal((size, size)))
  return q * np.sign(np.diag(r))


def of_covariance(name: str, covariance: np.ndarray, dx: int, source: str) -> Task:
  """Makes the task of a zero-mean Gaussian whose first `dx` coordinates are X, the rest Y.

  Args:
    name: the task's name.
    covariance: [dx + dy, dx + dy], positive definite.
    dx: width of X.
    source: where it comes from.

  Returns:
    A `Task` of I(X;Y) = h(X) + h(Y) - h(X,Y).
  """
  x, y, xy = (entropy(c) for c in (covariance[:dx, :dx], covariance[dx:, dx:], covariance))
  factor = np.linalg.cholesky(covariance)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    rows = rng.standard_normal((n, len(factor))) @ factor.T
    return rows[:, :dx], rows[:, dx:]

  return Task(
    id=name,
    dx=dx,
    dy=len(covariance) - dx,
    nats=x + y - xy,
    sample=sample,
    source=source,
    entropies={"x": x, "y": y, "xy": xy},
    margins="normal" if np.all(np.diag(covariance) == 1.0) else "",
  )


def correlations(d: int, dx: int, dy: int, rho: tuple[float, ...], nats: float) -> np.ndarray:
  """Reads the keys that several families share.

  Args:
    d: width of both.
    dx: width of x; 0 for d.
    dy: width of y; 0 for d.
    rho: one correlation for all pairs of coordinates, or one each for the first ones.
    nats: when positive, the information that equal correlations are chosen for.

  Returns:
    [dx, dy] with the correlations on its diagonal.

  Raises:
    InputError: a width below 1, a correlation outside (-1, 1), or too many of them.
  """
  dx, dy = dx or d, dy or d
  for name, width in (("dx", dx), ("dy", dy)):
    checks.at_least(name, width, 1)
  pairs = min(dx, dy)
  checks.at_least("nats", nats, 0.0)
  if nats:
    rho = (math.sqrt(-math.expm1(-2.0 * nats / pairs)),)
  if len(rho) == 1:
    rho = rho * pairs
  if len(rho) > pairs or not all(abs(r) < 1 for r in rho):
    raise InputError(
      f"rho={'/'.join(f'{r:g}' for r in rho)}, expected one number in (-1, 1), or at most {pairs} "
      "(the lesser of dx and dy)."
    )
  coupling = np.zeros((dx, dy))
  coupling[range(len(rho)), range(len(rho))] = rho
  return coupling


@family
def gaussian(
  d: int = 1,
  rho: tuple[float, ...] = (0.75,),
  dx: int = 0,
  dy: int = 0,
  nats: float = 0.0,
  rotate: int = 0,
) -> Task:
  """Gaussian x and y of unit variances whose coordinates are correlated in pairs.

  Formula: I(X;Y) = -1/2 sum log(1 - rho_i^2).

  Args:
    d: width of x and of y.
    rho: one correlation for all pairs, or one for each of the first pairs; the rest have 0.
    dx: width of x; 0 for d.
    dy: width of y; 0 for d.
    nats: when positive, I(X;Y): the equal correlations that give it are used in place of rho.
    rotate: when positive, the seed of a rotation of x and another of y, so that every coordinate
      of x depends on every coordinate of y.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  coupling = correlations(d, dx, dy, rho, nats)
  dx, dy = coupling.shape
  rho = tuple(np.diag(coupling))
  checks.at_least("rotate", rotate, 0)
  if rotate:
    rng = np.random.default_rng([rotate, 0])
    turn_x, turn_y = rotation(rng, dx), rotation(rng, dy)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x, noise = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    y = x @ coupling + noise * np.sqrt(1.0 - np.sum(coupling**2, axis=0))
    return (x @ turn_x, y @ turn_y) if rotate else (x, y)

  information = -0.5 * sum(math.log1p(-(r**2)) for r in rho)
  return Task(
    "gaussian",
    dx,
    dy,
    information,
    sample,
    "closed form: mutual information of a Gaussian by its canonical correlations",
    joint(entropy(np.eye(dx)), entropy(np.eye(dy)), information),
    margins="normal",
  )


@family
def dense(dx: int = 2, dy: int = 2, rho: float = 0.5) -> Task:
  """Gaussian x and y in which any two of the coordinates have the same correlation.

  Formula: I(X;Y) = h(X) + h(Y) - h(X,Y) by determinants.

  Args:
    dx: width of x.
    dy: width of y.
    rho: the correlation, in [0, 1).

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  for name, width in (("dx", dx), ("dy", dy)):
    checks.at_least(name, width, 1)
  checks.between("rho", rho, 0.0, 1.0, open_high=True)
  covariance = np.full((dx + dy, dx + dy), rho)
  np.fill_diagonal(covariance, 1.0)
  return of_covariance("dense", covariance, dx, "closed form: log-determinants")


@family
def sparse(dx: int = 3, dy: int = 3, pairs: int = 2, strength: float = 2.0) -> Task:
  """Gaussian x and y of unit variances that share a few latent variables, one a pair.

  Formula: I(X;Y) = -pairs/2 log(1 - rho^2), rho = strength^2 / (1 + strength^2).

  Args:
    dx: width of x.
    dy: width of y.
    pairs: how many coordinates of x are correlated with one of y each.
    strength: weight of the shared latent variable, where the noise of its own has weight 1.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  for name, width in (("dx", dx), ("dy", dy), ("pairs", pairs)):
    checks.at_least(name, width, 1)
  checks.at_least("strength", strength, 0.0)
  checks.between("pairs", pairs, 1, min(dx, dy))
  rho = strength**2 / (1.0 + strength**2)
  covariance = np.eye(dx + dy)
  for i in range(pairs):
    covariance[i, dx + i] = covariance[dx + i, i] = rho
  return of_covariance("sparse", covariance, dx, "closed form: log-determinants")


FAMILIES = (gaussian, dense, sparse)
