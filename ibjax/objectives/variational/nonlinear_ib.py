"""Nonlinear information bottleneck: the rate by pairwise distances of a batch's codes.

Source: Kolchinsky, Tracey and Wolpert 2019, "Nonlinear information bottleneck" (Entropy
21(12):1181, arXiv:1705.02436).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.estimators.base.kernels import DIRECT_UP_TO
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

Array = jax.Array
LAGRANGIAN = Lagrangian(form="rate", penalty="I(X;Z)")
BOUNDS = ("upper", "lower")
FURTHEST = 20.0  # log scales are kept within: beyond, no pair is told apart or all are


def nonlinear_ib(beta: Scalar = 0.1, bound: str = "upper") -> Objective:
  """Charges for the information about which example of the batch a noisy code came from.

  Formula: min E[-log q(y|z)] + beta I, I = -mean_i log mean_j exp(-D_ij) over the batch, j = i
  included, in nats; D_ij = KL(p(z|x_i) || p(z|x_j)) ("upper") or the Bhattacharyya distance of
  the two ("lower"). With one noise variance s^2 these are ||mu_i - mu_j||^2 / (2 s^2) and
  / (8 s^2).

  They bound the information I(X;Z) of X uniform over the batch, so 0 <= I <= log n: a rate beyond
  log n is not seen, and rates compare at one batch size only. No prior is assumed: the marginal is
  the batch's own mixture.

  Use it when the codes form clusters, or any marginal that a Gaussian prior fits badly. The paper
  minimises I squared (a convex IB, for a Y that X determines); here it is I itself, of which a
  wrapper makes any convex function.

  Args:
    beta: price of a nat, >= 0; may be traced.
    bound: which is minimised, "upper" or "lower"; the latter costs n^2 d operations that are no
      product of matrices.

  Returns:
    An `Objective` with losses distortion_nats and pairwise_{bound}_nats [n], and rate_nats where
    the code has one, and i_yz_lower_nats as metrics (averages, nats).

  Raises:
    InputError: a negative beta, another bound, a code that is not Gaussian, predictions or targets
      that do not fit.

  Example:
    >>> from ibjax.objectives.variational.nonlinear_ib import nonlinear_ib
    >>> objective = nonlinear_ib(beta=0.1)

  Source: Kolchinsky et al. 2019 (arXiv:1705.02436), the bound on I(X;T) by pairwise distances;
  Kolchinsky and Tracey 2017 (arXiv:1706.02419), for Gaussians of any covariances.
  """
  checks.at_least("beta", beta, 0.0)
  checks.one_of("bound", bound, BOUNDS)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    mean = require("nonlinear_ib", outputs, "mean")
    log_scale = require("nonlinear_ib", outputs, "log_scale")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    information = pairwise_information(mean, log_scale, batch["mask"], bound)
    rate = {} if outputs.code.rate is None else {"rate_nats": outputs.code.rate}
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        f"pairwise_{bound}_nats": Term(information, beta),
      },
      metrics={**rate, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True)


def pairwise_information(mean: Array, log_scale: Array, mask: Array, bound: str) -> Array:
  """Bounds the information about which example a diagonal Gaussian code came from.

  Formula: -log 1/m sum_j exp(-D_ij) of each i, over the m examples j that count, i included, with
  D_ij = sum_d [(s_i^2 + (mu_i - mu_j)^2) / s_j^2 - 1] / 2 + log s_j - log s_i ("upper"), or
  sum_d (mu_i - mu_j)^2 / (4 (s_i^2 + s_j^2)) + log[(s_i^2 + s_j^2) / (2 s_i s_j)] / 2 ("lower").

  Args:
    mean: [n, d].
    log_scale: [n, d] log of the standard deviations; kept within 20 of 0, where the bounds have
      long reached their ends.
    mask: [n] bool, True where the example counts.
    bound: "upper" or "lower".

  Returns:
    [n] nats, whose average over the mask is the bound; 0 where masked.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.variational.nonlinear_ib import pairwise_information
    >>> mean = jnp.array([[0.0], [100.0]])
    >>> local = pairwise_information(mean, jnp.zeros((2, 1)), jnp.ones(2, bool), "upper")
    >>> [round(float(one), 6) for one in local]  # log 2
    [0.693147, 0.693147]

  Source: Kolchinsky and Tracey 2017 (arXiv:1706.02419), the estimators by the Kullback-Leibler
  divergence and by the Chernoff distance at 1/2.
  """
  counted = mask[:, None]
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
  centre = jnp.sum(jnp.where(counted, mean, 0.0), axis=0) / count
  mean = jnp.where(counted, mean - centre, 0.0)
  log_scale = jnp.where(counted, jnp.clip(log_scale, -FURTHEST, FURTHEST), 0.0)
  distance = _divergence if bound == "upper" else _bhattacharyya
  same = jnp.eye(len(mean), dtype=bool)
  exponents = jnp.where(same, 0.0, -distance(mean, log_scale))
  both = jnp.where(counted & mask, exponents, -jnp.inf)
  # A masked row is all minus infinity; its own place keeps the gradient a number.
  local = jnp.log(count) - jax.nn.logsumexp(jnp.where(same, 0.0, both), axis=1)
  return jnp.where(mask, local, 0.0)


def _divergence(mean: Array, log_scale: Array) -> Array:
  """KL of each row's Gaussian to each other's, [n, n]."""
  if mean.shape[1] <= DIRECT_UP_TO:
    total = jnp.float32(0.0)
    for m, s in zip(mean.T, log_scale.T):
      spread = s[:, None] - s  # expm1(2 d) - 2 d keeps the digits of nearly equal scales
      shift = (m[:, None] - m) * jnp.exp(-s)
      total += 0.5 * (jnp.expm1(2.0 * spread) - 2.0 * spread + jnp.square(shift))
    return total
  precision, scaled = jnp.exp(-2.0 * log_scale), mean * jnp.exp(-2.0 * log_scale)
  squares = _dot(jnp.square(mean) + jnp.exp(2.0 * log_scale), precision)
  squares += jnp.sum(mean * scaled, axis=1) - 2.0 * _dot(mean, scaled)
  logs = jnp.sum(log_scale, axis=1)
  total = 0.5 * (squares - mean.shape[1]) + logs - logs[:, None]
  return jnp.maximum(total, 0.0)


def _bhattacharyya(mean: Array, log_scale: Array) -> Array:
  """Bhattacharyya distance of each pair of rows' Gaussians, [n, n]."""

  def one(total, column):
    m, s = column
    either = jnp.logaddexp(2.0 * s[:, None], 2.0 * s)
    shift = jnp.square((m[:, None] - m) * jnp.exp(-0.5 * either))
    spread = either - math.log(2.0) - s[:, None] - s
    return total + 0.25 * shift + 0.5 * spread, None

  start = jnp.zeros((len(mean), len(mean)))
  return jax.lax.scan(one, start, (mean.T, log_scale.T))[0]


def _dot(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def _pair(log_scale: float = 0.0, second: float = 0.0):
  mean = jnp.array([[0.0], [2.0]])
  aux = {"mean": mean, "log_scale": jnp.array([[log_scale], [second]])}
  return dict(
    outputs=Outputs(Code(mean, None, None, aux), jnp.zeros((2, 2))),
    batch={"x": mean, "y": jnp.array([0, 1]), "mask": jnp.ones(2, bool)},
    label_probs=jnp.array([0.5, 0.5]),
  )


def _two(near: float) -> float:
  return math.log(2.0) - math.log1p(math.exp(-near))


def _kl(s: float, r: float) -> float:
  return 0.5 * ((s**2 + 4.0) / r**2 - 1.0) + math.log(r / s)


CASES = (
  Case(
    name="two codes two standard deviations apart",
    hyper=dict(beta=0.5),
    inputs=_pair,
    expected=dict(
      distortion_nats=math.log(2),
      pairwise_upper_nats=_two(2.0),
      i_yz_lower_nats=0.0,
      loss=math.log(2) + 0.5 * _two(2.0),
    ),
    source="closed form: exponents 4/2 and 4/8",
  ),
  Case(
    name="two codes of two scales",
    hyper=dict(beta=1.0),
    inputs=lambda: _pair(0.0, math.log(3.0)),
    expected=dict(pairwise_upper_nats=0.5 * (_two(_kl(1.0, 3.0)) + _two(_kl(3.0, 1.0)))),
    source="closed form: KL of N(0, 1) and N(2, 9)",
  ),
  Case(
    name="beta = 0 is cross-entropy",
    hyper=dict(beta=0.0),
    inputs=_pair,
    expected=dict(loss=math.log(2)),
    source="limit",
  ),
  Case(
    name="no noise: which of the two examples it was is known",
    hyper=dict(beta=1.0),
    inputs=lambda: _pair(-1e4, -1e4),
    expected=dict(pairwise_upper_nats=math.log(2)),
    source="limit: log n",
  ),
)
