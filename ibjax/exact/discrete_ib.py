"""The discrete information bottleneck for any table p(x, y): the whole curve, to rounding.

Two conventions of beta are in use. Here, as in `ibjax.exact.gaussian_ib`, beta is Tishby's and
multiplies I(T;Y): min I(X;T) - beta I(T;Y). The objectives of this project price the rate instead:
their beta is one over the beta here. All values are in nats.

Source: Tishby, Pereira and Bialek 1999, "The information bottleneck method"
(arXiv:physics/0004057); the generalised Lagrangian is that of Strouse and Schwab 2017, "The
deterministic information bottleneck" (arXiv:1604.00268).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.exact import blahut_arimoto
from ibjax.exact.joint import checked_joint, information, place

_VISITS = 64  # betas that annealing visits at least
_CHUNK = 16  # betas that are polished together; one shape, so one compilation
_ROUGH = (1e-5, 15)  # tolerance and cycles of the annealing in float32
_ROUNDS = 4  # how often betas may take over each other's solutions


class DiscreteIb(NamedTuple):
  """The solved curve; arrays are over the betas, in the order in which they were asked for.

  Attributes:
    betas: [b], each multiplies I(T;Y); this project's beta is one over it.
    encoders: [b, kx, kt] p(t|x); clusters that are not used have probability 0, or are copies.
    rate_nats: [b] I(X;T).
    relevance_nats: [b] I(T;Y).
    entropy_nats: [b] H(T).
    lagrangian_nats: [b] H(T) - alpha H(T|X) - beta I(T;Y); with alpha = 1, I(X;T) - beta I(T;Y).
    residual_nats: [b] what the last three updates still won; below the tolerance unless the
      iterations ran out.
    information_nats: I(X;Y).
  """

  betas: np.ndarray
  encoders: np.ndarray
  rate_nats: np.ndarray
  relevance_nats: np.ndarray
  entropy_nats: np.ndarray
  lagrangian_nats: np.ndarray
  residual_nats: np.ndarray
  information_nats: float


def discrete_ib(
  joint: np.ndarray,
  betas: np.ndarray,
  clusters: int | None = None,
  restarts: int = 16,
  alpha: float = 1.0,
  tolerance: float = 1e-9,
  cycles: int = 200,
  seed: int = 0,
) -> DiscreteIb:
  """Solves min H(T) - alpha H(T|X) - beta I(T;Y) at each beta.

  Reverse annealing: several solutions start at the largest beta, one of them from T = X, and are
  followed down, in float32, each disturbed by a noise of its own before every beta. Then each beta
  takes the encoder that is best for it among those found at any beta (this crosses the transitions
  of first order, at which annealing lags behind) and converges in float64, and again, until no
  beta can use another's.

  Formula: p(t|x) = p(t)^(1/alpha) exp(-beta/alpha KL(p(y|x) || p(y|t))) / Z(x).

  Args:
    joint: [kx, ky] p(x, y), rows are values of X.
    betas: [b] Tishby's beta, at least 0, in any order; this project's is one over it.
    clusters: the most values T may have; kx (always enough) when None.
    restarts: solutions that are followed.
    alpha: in (0, 1]; 1 is the information bottleneck. The limit 0 is `deterministic_ib`.
    tolerance: nats that the last three updates may have won at the end.
    cycles: the most cycles of three updates in float64, in each round.
    seed: of the starts and the noise.

  Returns:
    A `DiscreteIb`.

  Raises:
    InputError: a table that is no joint distribution, a beta, alpha, clusters or restarts out of
      range.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.discrete_ib import discrete_ib
    >>> solved = discrete_ib(np.array([[0.45, 0.05], [0.05, 0.45]]), np.array([1.5, 100.0]))
    >>> solved.rate_nats.round(4).tolist()
    [0.0, 0.6931]

  Source: Tishby et al. 1999, the self-consistent equations; Strouse and Schwab 2017 for alpha.
  """
  joint = checked_joint(joint)
  betas = checked_betas(betas)
  checks.at_least("restarts", restarts, 1)
  checks.between("alpha", alpha, 0.0, 1.0)
  if alpha == 0:
    raise InputError("alpha is 0, the deterministic bottleneck; use ibjax.exact.deterministic_ib.")
  clusters = len(joint) if clusters is None else clusters
  checks.at_least("clusters", clusters, 1)

  asked, inverse = np.unique(betas, return_inverse=True)
  pool = _anneal(joint, _path(asked), clusters, restarts, alpha, seed)
  found = np.zeros((len(asked), *pool.shape[1:]))
  cost, residual = np.full(len(asked), np.inf), np.zeros(len(asked))
  for _ in range(_ROUNDS):
    costs = _lagrangian(place(joint, pool), asked[:, None], alpha)
    source = np.argmin(costs, axis=1)
    better = np.flatnonzero(costs[np.arange(len(asked)), source] < cost - tolerance)
    if not len(better):
      break
    starts = pool[source[better]]
    found[better], residual[better] = _polish(
      joint, starts, asked[better], alpha, tolerance, cycles
    )
    cost[better] = _lagrangian(place(joint, found[better]), asked[better], alpha)
    pool = found
  rate, relevance, entropy = place(joint, found[inverse])
  return DiscreteIb(
    betas,
    found[inverse],
    rate,
    relevance,
    entropy,
    cost[inverse],
    residual[inverse],
    information(joint),
  )


def curve(solved: DiscreteIb, rate: np.ndarray) -> np.ndarray:
  """The most that a code of a given rate keeps of Y, between the points that were solved.

  Formula: the upper concave envelope of the points, 0 and (H(X), I(X;Y)); what time sharing
  reaches, so never above the exact curve, and at most half a step of 1/beta times the step of the
  rate below it.

  Args:
    solved: from `discrete_ib` with alpha = 1 and betas that reach from the critical one to large.
    rate: I(X;T) in nats, any shape, at least 0.

  Returns:
    I(T;Y) in nats, the same shape.

  Raises:
    InputError: a negative rate.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.discrete_ib import curve, discrete_ib
    >>> solved = discrete_ib(np.eye(2) / 2, np.array([1.1, 2.0]))
    >>> curve(solved, np.array([0.0, 0.3, 5.0])).round(6).tolist()
    [0.0, 0.3, 0.693147]
  """
  rate = np.asarray(rate, np.float64)
  if np.any(rate < 0):
    raise InputError(f"a rate is at least 0 nats, found {rate.min():g}.")
  order = np.lexsort((-solved.relevance_nats, solved.rate_nats))
  hull = [(0.0, 0.0)]
  for point in zip(solved.rate_nats[order].tolist(), solved.relevance_nats[order].tolist()):
    if point[0] <= hull[-1][0] + 1e-12 or point[1] <= hull[-1][1]:
      continue
    while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
      hull.pop()
    hull.append(point)
  xs, ys = np.array(hull).T
  return np.interp(rate, xs, ys)


def used_clusters(joint: np.ndarray, encoder: np.ndarray, apart: float = 1e-3) -> int:
  """Counts the clusters that differ: copies, which a solution may have, count once.

  Args:
    joint: [kx, ky], summing to 1.
    encoder: [kx, kt] p(t|x).
    apart: how far sum_y |p(y|t) - p(y|s)| two clusters are at least; a cluster whose weight is
      below it too is not counted.

  Returns:
    At least 1.
  """
  both = encoder.T @ joint
  weight = both.sum(axis=1)
  rows = both[weight > apart] / weight[weight > apart, None]
  kept: list[np.ndarray] = []
  for row in rows:
    if all(np.abs(row - other).sum() > apart for other in kept):
      kept.append(row)
  return len(kept)


def checked_betas(betas: np.ndarray) -> np.ndarray:
  """Checks weights of I(T;Y).

  Args:
    betas: [b] or one number.

  Returns:
    [b] float64.

  Raises:
    InputError: none, more than one axis, or one that is negative, NaN or infinite.
  """
  betas = np.atleast_1d(np.asarray(betas, np.float64))
  if betas.ndim != 1 or not len(betas):
    raise InputError(f"betas has shape {list(betas.shape)}, expected [b], at least one of them.")
  bad = ~np.isfinite(betas) | (betas < 0)
  if bad.any():
    raise InputError(
      f"beta is {betas[bad][0]:g}, expected a finite number of at least 0. It multiplies I(T;Y), "
      "as in Tishby's papers; the price of a nat of rate, this project's beta, is one over it."
    )
  return betas


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
  return (b[1] - a[1]) / (b[0] - a[0])


def _lagrangian(plane, betas, alpha):
  noise = plane.entropy_nats - plane.rate_nats  # H(T|X)
  return plane.entropy_nats - alpha * noise - betas * plane.relevance_nats


def _path(asked):
  """The betas that annealing visits: those asked for, and enough between them, falling."""
  missing = _VISITS - len(asked)
  if missing <= 0:
    return asked[::-1]
  # Below 1 every optimum is trivial, and far above it little happens: by the logarithm.
  between = np.geomspace(1.0, max(asked[-1], 2.0), missing)
  return np.sort(np.concatenate([asked, between]))[::-1]


def _anneal(joint, falling, clusters, restarts, alpha, seed):
  rng = np.random.default_rng(seed)
  kx = len(joint)
  base = np.eye(clusters)[np.arange(kx) % clusters]
  # From T = X to an encoder drawn at random; the noise on the way grows alike.
  share = np.linspace(0.0, 1.0, restarts)[:, None, None]
  random = rng.dirichlet(np.ones(clusters), size=(restarts, kx))
  starts = (1.0 - share) * base + share * random
  found = blahut_arimoto.anneal(
    jnp.asarray(starts, jnp.float32),
    jnp.asarray(random, jnp.float32),
    jnp.asarray(falling, jnp.float32),
    jnp.asarray(0.2 * share[:, 0, 0], jnp.float32),
    jnp.float32(alpha),
    blahut_arimoto.table(joint, jnp.float32),
    jnp.float32(_ROUGH[0]),
    _ROUGH[1],
  )
  found = np.asarray(found, np.float64)
  return found / found.sum(axis=-1, keepdims=True)


def _polish(joint, starts, betas, alpha, tolerance, cycles):
  encoders, residuals = [], []
  with jax.enable_x64(True):
    data = blahut_arimoto.table(joint, jnp.float64)
    for begin in range(0, len(betas), _CHUNK):
      rows = np.minimum(np.arange(begin, begin + _CHUNK), len(betas) - 1)
      found, _, won = blahut_arimoto.converge(
        jnp.asarray(starts[rows]),
        jnp.asarray(betas[rows]),
        jnp.float64(alpha),
        data,
        jnp.float64(tolerance),
        jnp.int64(cycles),
      )
      encoders.append(np.asarray(found))
      residuals.append(np.asarray(won))
  count = len(betas)
  return np.concatenate(encoders)[:count], np.concatenate(residuals)[:count]
