"""Bounds on mutual information as pure functions of the scores of all pairs of a batch.

`scores[i, j]` is a critic's f(x_i, y_j), the pairs (x_i, y_i) are the samples, and x_i with y_j,
i != j, stands for a draw of the product of the marginals. Upper bounds take log q(y_j | x_i) in
the same places. Everything is in nats, and differentiable.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Scalar

Array = jax.Array


def dv(scores: Array) -> Array:
  """Donsker-Varadhan: a lower bound in the limit of many rows.

  Formula: mean_i f_ii - log mean_(i != j) exp f_ij. The logarithm of an average of few terms is
  too small on average, so the value is biased upwards in small batches.

  Args:
    scores: [k, k] critic, k >= 2; the best is log p(x, y) / (p(x) p(y)) plus any constant.

  Returns:
    Scalar nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.bounds import dv
    >>> round(float(dv(jnp.array([[2.0, 1.0], [1.0, 2.0]]))), 6)
    1.0

  Source: Donsker and Varadhan 1983; Belghazi et al. 2018 (arXiv:1801.04062), eq. 10.
  """
  return jnp.mean(jnp.diagonal(scores)) - _log_mean_exp_pairs(scores)


def smile(scores: Array, tau: Scalar = 5.0) -> Array:
  """Donsker-Varadhan with the density ratio clipped under the logarithm; no bound.

  Formula: mean_i f_ii - log mean_(i != j) clip(exp f_ij, exp -tau, exp tau).

  Args:
    scores: [k, k] critic whose best is log p(x, y) / (p(x) p(y)) itself.
    tau: > 0; infinity gives `dv`, small values less variance and more bias.

  Returns:
    Scalar nats.

  Source: Song and Ermon 2020 (arXiv:1910.06222), the SMILE estimator.
  """
  clipped = jnp.clip(scores, -tau, tau)
  return jnp.mean(jnp.diagonal(scores)) - _log_mean_exp_pairs(clipped)


def tuba(scores: Array, log_baseline: Array | float = 0.0) -> Array:
  """Tractable unnormalised Barber-Agakov: a lower bound in any batch, unbiased.

  Formula: 1 + mean_i [f_ii - log a(y_i)] - mean_(i != j) exp(f_ij) / a(y_j).

  Args:
    scores: [k, k] critic; the best is log p(x, y) / (p(x) p(y)) + log a(y).
    log_baseline: [k] log a(y_j), or a number.

  Returns:
    Scalar nats.

  Source: Poole et al. 2019 (arXiv:1905.06922), section 2.
  """
  return nwj(scores - log_baseline + 1.0)


def nwj(scores: Array) -> Array:
  """Nguyen-Wainwright-Jordan: a lower bound in any batch, unbiased, of large variance.

  Formula: mean_i f_ii - mean_(i != j) exp(f_ij - 1).

  Args:
    scores: [k, k] critic; the best is 1 + log p(x, y) / (p(x) p(y)).

  Returns:
    Scalar nats.

  Source: Nguyen et al. 2010 (arXiv:0809.0853); Poole et al. 2019 (arXiv:1905.06922), section 2.
  """
  return jnp.mean(jnp.diagonal(scores)) - jnp.exp(_log_mean_exp_pairs(scores) - 1.0)


def info_nce(scores: Array) -> Array:
  """InfoNCE: a lower bound in any batch, of small variance, and never above log k.

  Formula: log k + mean_i [f_ii - log sum_j exp f_ij].

  Args:
    scores: [k, k] critic; the best is log p(x, y) / (p(x) p(y)) plus any function of x.

  Returns:
    Scalar nats, at most log k.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.bounds import info_nce
    >>> round(float(info_nce(100.0 * jnp.eye(4))), 6)  # log 4
    1.386294

  Source: van den Oord et al. 2018 (arXiv:1807.03748); Poole et al. 2019 (arXiv:1905.06922),
    section 2.
  """
  k = _size(scores)
  each = jnp.diagonal(scores) - jax.nn.logsumexp(scores, axis=1)
  return jnp.log(jnp.float32(k)) + jnp.mean(each)


def interpolated(scores: Array, log_baseline: Array | float = 0.0, alpha: Scalar = 0.5) -> Array:
  """Between TUBA (alpha = 0) and InfoNCE (alpha = 1): a lower bound in any batch.

  Formula: 1 + E[f(x, y) - log m(y)] - E[exp(f(x', y)) / m(y)], with
  m = alpha mean_x'' exp f(x'', y) + (1 - alpha) a(y), the inner average over k - 1 of the batch's
  x: with the partner of y in the first expectation, without it in the second. It cannot exceed
  about log((k - 1) / alpha).

  Args:
    scores: [k, k] critic, k >= 3 for the average to mean anything.
    log_baseline: [k] log a(y_j), or a number.
    alpha: in [0, 1]; small values less bias and more variance.

  Returns:
    Scalar nats.

  Source: Poole et al. 2019 (arXiv:1905.06922), section 2.3.
  """
  checks.between("alpha", alpha, 0.0, 1.0)
  k = _size(scores)
  rows = scores.T  # row i: y_i with every x
  diagonal = jnp.eye(k, dtype=bool)
  # left_out[i, j]: log mean over the x of row i but the j-th, by a difference that keeps its
  # digits: where one term makes up most of the sum, the sum without it is taken anew.
  peak = jax.lax.stop_gradient(jnp.max(rows, axis=1, keepdims=True))
  terms = jnp.exp(rows - peak)
  rest = jnp.sum(terms, axis=1, keepdims=True) - terms
  largest = jnp.argmax(rows, axis=1)[:, None] == jnp.arange(k)
  without = jax.nn.logsumexp(jnp.where(largest, -jnp.inf, rows), axis=1, keepdims=True)
  usual = peak + jnp.log(jnp.where(largest, 1.0, rest))
  left_out = jnp.where(largest, without, usual) - jnp.log(k - 1.0)
  own = jnp.broadcast_to(jnp.reshape(jnp.asarray(log_baseline), (-1, 1)), rows.shape)
  log_alpha, log_other = jnp.log(alpha), jnp.log1p(-jnp.asarray(alpha, rows.dtype))
  log_m = jnp.logaddexp(log_alpha + left_out, log_other + own)
  joint = jnp.diagonal(rows)[:, None] - log_m
  joint = jnp.sum(jnp.where(diagonal, 0.0, joint)) / (k * (k - 1.0))
  product = _log_mean_exp_pairs(rows - jnp.diagonal(log_m)[:, None])
  return 1.0 + joint - jnp.exp(product)


def jensen_shannon(scores: Array) -> Array:
  """A lower bound on a Jensen-Shannon divergence; trains a critic, is no estimate of I.

  Formula: mean_i -softplus(-f_ii) - mean_(i != j) softplus(f_ij), at most 2 JSD - 2 log 2 of joint
  and product.

  Args:
    scores: [k, k] critic; the best is log p(x, y) / (p(x) p(y)), so `nwj(scores + 1)` then
      estimates I(X;Y).

  Returns:
    Scalar nats, negative.

  Source: Nowozin et al. 2016 (arXiv:1606.00709); Poole et al. 2019 (arXiv:1905.06922), section 2.
  """
  k = _size(scores)
  joint = jnp.diagonal(scores)
  pairs = jnp.where(jnp.eye(k, dtype=bool), 0.0, jax.nn.softplus(scores))
  return -jnp.mean(jax.nn.softplus(-joint)) - jnp.sum(pairs) / (k * (k - 1.0))


def flo(scores: Array, log_ratio: Array) -> Array:
  """Fenchel-Legendre optimisation: a lower bound in any batch, unbiased.

  Formula: 1 - mean_i [u_i + exp(-u_i) mean_(j != i) exp(f_ij - f_ii)], with u = -log_ratio.

  Args:
    scores: [k, k] critic; the best is log p(x, y) / (p(x) p(y)) plus any function of x.
    log_ratio: [k] of each sample, -u; the best is log p(x, y) / (p(x) p(y)).

  Returns:
    Scalar nats.

  Source: Guo et al. 2022 (arXiv:2107.01131), the FLO estimator.
  """
  others = _log_mean_exp_rows(scores) - jnp.diagonal(scores)
  return 1.0 + jnp.mean(log_ratio - jnp.exp(log_ratio + others))


def club(log_q: Array) -> Array:
  """Contrastive log-ratio upper bound, when q is p(y | x).

  Formula: mean_i log q(y_i | x_i) - mean_(i != j) log q(y_j | x_i). Averaging the second term over
  i = j too, as its authors do, shrinks the value by 1 - 1/k; without them it is unbiased.

  Args:
    log_q: [k, k], log q(y_j | x_i); terms that depend on y alone cancel.

  Returns:
    Scalar nats, often far above I: d rho^2 / (1 - rho^2) for d pairs of Gaussians of correlation
    rho.

  Source: Cheng et al. 2020 (arXiv:2006.12013), the CLUB estimator.
  """
  k = _size(log_q)
  joint = jnp.diagonal(log_q)
  pairs = jnp.where(jnp.eye(k, dtype=bool), 0.0, log_q)
  return jnp.mean(joint) - jnp.sum(pairs) / (k * (k - 1.0))


def l1_out(log_q: Array) -> Array:
  """Leave-one-out: an upper bound when q is p(y | x).

  Formula: mean_i [log q(y_i | x_i) - log mean_(j != i) q(y_i | x_j)].

  Args:
    log_q: [k, k], log q(y_j | x_i), normalised densities.

  Returns:
    Scalar nats.

  Source: Poole et al. 2019 (arXiv:1905.06922), section 2.1.
  """
  return jnp.mean(jnp.diagonal(log_q) - _log_mean_exp_rows(log_q.T))


def _size(scores: Array) -> int:
  checks.shape("scores", scores, ("k", "k"))
  return len(scores)


def _log_mean_exp_rows(scores: Array) -> Array:
  """[k]: log of the mean over the other columns of each row."""
  k = _size(scores)
  apart = jnp.where(jnp.eye(k, dtype=bool), -jnp.inf, scores)
  return jax.nn.logsumexp(apart, axis=1) - jnp.log(k - 1.0)


def _log_mean_exp_pairs(scores: Array) -> Array:
  """Log of the mean over all pairs i != j."""
  k = len(scores)
  return jax.nn.logsumexp(_log_mean_exp_rows(scores)) - jnp.log(jnp.float32(k))
