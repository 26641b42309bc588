"""The spectrum of matrices of pure noise, and when a planted direction stands out of it.

Source: Marchenko and Pastur 1967, "Distribution of eigenvalues for some sets of random matrices";
Benaych-Georges and Nadakuditi 2012 (arXiv:1103.2221) for planted directions; Johnstone 2001, "On
the distribution of the largest eigenvalue in principal components analysis".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError

_TRACY_WIDOM_99 = 2.0234  # the 99% point of the Tracy-Widom law of real matrices
_GRID = 8192
LEVELS = (np.arange(64) + 0.5) / 64


class Null(NamedTuple):
  """The eigenvalues that pure noise of unit variance has.

  Attributes:
    median: of all eigenvalues.
    edge: the end of the bulk as the matrix grows.
    threshold: what the largest eigenvalue of noise of this size exceeds once in a hundred times.
    quantiles: [64] at the levels (i + 1/2)/64.
  """

  median: float
  edge: float
  threshold: float
  quantiles: np.ndarray


def edges(ratio: float, variance: float = 1.0) -> tuple[float, float]:
  """The ends of the bulk of W W^T / n.

  Formula: s^2 (1 -+ sqrt(q))^2, q = m/n <= 1, entries of W [m, n] independent of variance s^2.

  Args:
    ratio: q, in (0, 1].
    variance: s^2 > 0.

  Returns:
    (low, high).

  Raises:
    InputError: a ratio outside (0, 1], or a variance that is not positive.

  Example:
    >>> from ibjax.exact.marchenko_pastur import edges
    >>> edges(0.25)
    (0.25, 2.25)

  Source: Marchenko and Pastur 1967.
  """
  checks.at_least("variance", variance, 0.0, strict=True)
  if not 0.0 < ratio <= 1.0:
    raise InputError(
      f"ratio={ratio:g} of rows to columns lies outside (0, 1]; transpose the matrix, so that it "
      "has no more rows than columns."
    )
  root = ratio**0.5
  return variance * (1.0 - root) ** 2, variance * (1.0 + root) ** 2


def density(x: np.ndarray, ratio: float, variance: float = 1.0) -> np.ndarray:
  """The limiting density of the eigenvalues of W W^T / n.

  Formula: sqrt((l+ - x)(x - l-)) / (2 pi s^2 q x) between the edges, 0 outside.

  Args:
    x: any shape.
    ratio: q, in (0, 1].
    variance: s^2 > 0.

  Returns:
    The shape of x.

  Example:
    >>> from ibjax.exact.marchenko_pastur import density
    >>> float(density(2.0, 1.0).round(6)), float(density(5.0, 1.0))
    (0.159155, 0.0)

  Source: Marchenko and Pastur 1967.
  """
  low, high = edges(ratio, variance)
  x = np.asarray(x, np.float64)
  inside = (x > low) & (x < high)
  safe = np.where(inside, x, 0.5 * (low + high))
  bulk = np.sqrt((high - safe) * (safe - low)) / (2.0 * np.pi * variance * ratio * safe)
  return np.where(inside, bulk, 0.0)


def quantiles(levels: np.ndarray, ratio: float, variance: float = 1.0) -> np.ndarray:
  """The eigenvalues below which given parts of all lie.

  Formula: with x = s^2 (1 + q - 2 sqrt(q) cos t), the density becomes 2 s^2 sin(t)^2 / (pi x) dt,
  which is smooth, summed at midpoints.

  Args:
    levels: in [0, 1], any shape.
    ratio: q, in (0, 1].
    variance: s^2 > 0.

  Returns:
    The shape of levels.

  Example:
    >>> from ibjax.exact.marchenko_pastur import quantiles
    >>> quantiles([0.0, 1.0], 0.25).round(6).tolist()
    [0.25, 2.25]
  """
  low, high = edges(ratio, variance)
  t = np.pi * (np.arange(_GRID) + 0.5) / _GRID
  x = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(t)
  mass = np.concatenate([[0.0], np.cumsum(2.0 * variance * np.sin(t) ** 2 / x)])
  ends = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.pi * np.arange(_GRID + 1) / _GRID)
  return np.interp(np.asarray(levels, np.float64), mass / mass[-1], ends)


def planted(strength: float, ratio: float, variance: float = 1.0) -> float:
  """Where the largest eigenvalue lies when one direction is added to noise.

  Formula: of (Z / sqrt(n) + t u v^T)(...)^T, with w = t/s: s^2 (1 + w^2)(q + w^2) / w^2 where
  w > q^(1/4), else the edge s^2 (1 + sqrt(q))^2: a weaker direction leaves no trace in it.

  Args:
    strength: t >= 0, the singular value of the planted direction.
    ratio: q, in (0, 1].
    variance: s^2 > 0 of the entries of Z.

  Returns:
    The limit of the largest eigenvalue.

  Example:
    >>> from ibjax.exact.marchenko_pastur import planted
    >>> planted(0.5, 0.25), planted(2.0, 0.25)
    (2.25, 5.3125)

  Source: Benaych-Georges and Nadakuditi 2012 (arXiv:1103.2221), section 3.1; the threshold is that
  of Baik, Ben Arous and Peche 2005.
  """
  checks.at_least("strength", strength, 0.0)
  _, high = edges(ratio, variance)
  w = strength**2 / variance
  return variance * (1.0 + w) * (ratio + w) / w if w > ratio**0.5 else high


def noise(rows: int, columns: int) -> Null:
  """What W W^T / columns looks like where W [rows, columns] is noise of unit variance.

  Formula: median, edge and quantiles of the limiting law at q = rows/columns; threshold
  (m + c a) / columns with m = (sqrt(columns - 1) + sqrt(rows))^2, a = sqrt(m) (1/sqrt(columns - 1)
  + 1/sqrt(rows))^(1/3) and c = 2.02, the 99% point of the Tracy-Widom law.

  Args:
    rows: m <= columns.
    columns: at least 2.

  Returns:
    A `Null`.

  Raises:
    InputError: more rows than columns, or none.

  Example:
    >>> from ibjax.exact.marchenko_pastur import noise
    >>> found = noise(32, 128)
    >>> found.edge, round(found.threshold, 2)
    (2.25, 2.41)

  Source: Johnstone 2001, theorem 1.1, for the threshold; drawn matrices pass it in 1% of cases.
  """
  checks.at_least("rows", rows, 1)
  checks.at_least("columns", columns, 2)
  _, edge = edges(rows / columns)
  a, b = np.sqrt(columns - 1.0), np.sqrt(float(rows))
  threshold = ((a + b) ** 2 + _TRACY_WIDOM_99 * (a + b) * (1 / a + 1 / b) ** (1 / 3)) / columns
  middle = float(quantiles(np.array(0.5), rows / columns))
  return Null(middle, edge, float(threshold), quantiles(LEVELS, rows / columns))


def product_noise(
  width: int, inner: int, latent: int = 0, rotary: int = 0, draws: int = 200, seed: int = 0
) -> Null:
  """What Q K^T looks like where Q and K [width, inner] are noise of unit variance: simulated.

  A product of two matrices of noise does not follow the law of one: its bulk is longer, so that
  the law of one would take a part of it for structure. Here it is drawn.

  Formula: the nonzero eigenvalues of (Q K^T)(Q K^T)^T / width^2 are those of
  (K^T K)(Q^T Q) / width^2. The median and the quantiles are over all draws; edge and threshold the
  mean and the 99% point of the largest. Of latent attention, K = [D U, R] with D [width, latent],
  U [latent, inner - rotary] of variance 1/latent and R [width, rotary].

  Args:
    width: of the model.
    inner: of a head; the rank of the product, which the width bounds.
    latent: rank of the latent that keys are made of; 0 for keys of their own.
    rotary: how many of the inner dimensions are rotary keys beside the latent.
    draws: matrices drawn.
    seed: of the draws.

  Returns:
    A `Null`.

  Raises:
    InputError: rotary dimensions above the inner size, a latent above the width, or a size below 1.

  Example:
    >>> from ibjax.exact.marchenko_pastur import noise, product_noise
    >>> product_noise(64, 16).edge > noise(16, 64).edge
    True
  """
  checks.at_least("draws", draws, 1)
  checks.at_least("inner", inner, 1)
  if not 0 <= rotary <= inner or (latent and latent > width):
    raise InputError(
      f"rotary={rotary} must lie in 0..{inner} and latent={latent} in 0..{width}, the width."
    )
  rng = np.random.default_rng(seed)
  q, k = rng.standard_normal((2, draws, width, inner)) / np.sqrt(width)
  if latent:
    down = rng.standard_normal((draws, width, latent)) / np.sqrt(width)
    up = rng.standard_normal((draws, latent, inner - rotary)) / np.sqrt(latent)
    k = np.concatenate([down @ up, k[..., :rotary]], axis=-1)
  # Singular values of R_q R_k^T: triangular factors have the Gram matrices of Q and K.
  found = np.linalg.svd(
    np.linalg.qr(q, "r") @ np.swapaxes(np.linalg.qr(k, "r"), 1, 2), compute_uv=False
  )
  # A latent below the inner size leaves directions out, which are no part of the spectrum.
  found = found[:, : latent + rotary if latent else None]
  values, largest = found**2, found[:, 0] ** 2
  return Null(
    float(np.median(values)),
    float(np.mean(largest)),
    float(np.quantile(largest, 0.99)),
    np.quantile(values, LEVELS),
  )
