"""Jointly Student-t pairs: heavy tails, and information without any correlation."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, gammaln

from ibjax.core import checks
from ibjax.data.synthetic.normal import correlations
from ibjax.data.synthetic.task import Arrays, Task, family, joint


def entropy(d: int, df: float) -> float:
  """Differential entropy of a multivariate Student-t whose dispersion is the identity.

  Formula: h = -log Gamma((df + d)/2) + log Gamma(df/2) + d/2 log(df pi)
  + (df + d)/2 [psi((df + d)/2) - psi(df/2)].

  Args:
    d: dimension.
    df: degrees of freedom.

  Returns:
    Nats.
  """
  half = (df + d) / 2
  return float(
    gammaln(df / 2)
    - gammaln(half)
    + 0.5 * d * math.log(df * math.pi)
    + half * (digamma(half) - digamma(df / 2))
  )


@family
def student(
  d: int = 1, df: float = 1.0, dx: int = 0, dy: int = 0, rho: tuple[float, ...] = (0.0,)
) -> Task:
  """Student-t x and y that share their random scale; the dispersion has correlations in pairs.

  Formula: I(X;Y) = h(X) + h(Y) - h(X,Y); a dispersion other than the identity adds the
  information of the Gaussian of that dispersion.

  Args:
    d: width of x and of y.
    df: degrees of freedom, above 0; there is no mean up to 1 and no variance up to 2.
    dx: width of x; 0 for d.
    dy: width of y; 0 for d.
    rho: one entry of the dispersion for all pairs, or one for each of the first pairs.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  coupling = correlations(d, dx, dy, rho, 0.0)
  dx, dy = coupling.shape
  checks.at_least("df", df, 0.0, strict=True)
  x, y = entropy(dx, df), entropy(dy, df)
  gaussian = -0.5 * float(np.sum(np.log1p(-(np.diag(coupling) ** 2))))
  nats = x + y - entropy(dx + dy, df) + gaussian

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    left, noise = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    right = left @ coupling + noise * np.sqrt(1.0 - np.sum(coupling**2, axis=0))
    scale = np.sqrt(df / rng.chisquare(df, (n, 1)))  # one for the whole row: it joins x and y
    return left * scale, right * scale

  source = (
    "entropies of the multivariate Student-t; Arellano-Valle, Contreras-Reyes and Genton 2013, "
    "'Shannon entropy and mutual information for multivariate skew-elliptical distributions'"
  )
  return Task("student", dx, dy, nats, sample, source, joint(x, y, nats))


FAMILIES = (student,)
