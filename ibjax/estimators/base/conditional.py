"""Conditional Gaussians log q(y_j | x_i) of all pairs, fitted by likelihood or in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.numerics import LOG_2PI, gaussian_log_prob
from ibjax.estimators.base.learned import Method, Model
from ibjax.estimators.base.networks import apply_mlp, init_mlp

Array = jax.Array
Tree = Any
LIMIT = 5.0  # log scales lie within plus and minus this: e^-5 of a standardised column


class Conditional(NamedTuple):
  """A family of conditional densities or probabilities.

  Attributes:
    init: `init(key, dx, dy) -> params`.
    pairs: `pairs(params, x [m, dx], y [n, dy]) -> [m, n]`, log q(y_j | x_i).
    rows: `rows(params, x [n, dx], y [n, dy]) -> [n]`, log q(y_i | x_i).
  """

  init: Callable[..., Tree]
  pairs: Callable[..., Array]
  rows: Callable[..., Array]


@functools.lru_cache
def gaussian(sizes: tuple[int, ...] = (16, 8)) -> Conditional:
  """Makes a Gaussian of y given x whose mean and scales a perceptron reads from x.

  Formula: q(y | x) = prod_i N((L y)_i; m_i(x), s_i(x)^2), L unit lower triangular and learned, m
  linear in x plus a perceptron, log s a perceptron within [-5, 5]. det L = 1, so q is normalised;
  L lets the dimensions of y depend on each other given x. Exact for jointly Gaussian data.

  Args:
    sizes: widths of the hidden layers.

  Returns:
    A `Conditional`, the same object for the same sizes; it starts at N(0, 1) whatever x.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.estimators.base.conditional import gaussian
    >>> q = gaussian((4,))
    >>> params = q.init(jax.random.key(0), 3, 1)
    >>> round(float(q.rows(params, jnp.ones((1, 3)), jnp.zeros((1, 1)))[0]), 5)
    -0.91894
  """

  def init(key, dx, dy):
    network = init_mlp(rng.stream(key, "network"), (dx, *sizes, 2 * dy))
    network[-1]["w"] = jnp.zeros_like(network[-1]["w"])
    return {"network": network, "linear": jnp.zeros((dy, dx)), "lower": jnp.zeros((dy, dy))}

  def parts(params, x, y):
    mean, raw = jnp.split(apply_mlp(params["network"], x), 2, axis=1)
    mixed = y + y @ jnp.tril(params["lower"], -1).T
    return mixed, mean + x @ params["linear"].T, LIMIT * jnp.tanh(raw / LIMIT)

  def pairs(params, x, y):
    mixed, mean, log_scale = parts(params, x, y)
    return gaussian_log_prob(mixed[None, :, :], mean[:, None, :], log_scale[:, None, :])

  def rows(params, x, y):
    return gaussian_log_prob(*parts(params, x, y))

  return Conditional(init, pairs, rows)


@functools.lru_cache
def categorical(sizes: tuple[int, ...] = (16, 8)) -> Conditional:
  """Makes a classifier: the softmax of a linear map of x plus a perceptron.

  Args:
    sizes: widths of the hidden layers.

  Returns:
    A `Conditional` of one column per class, one of them 1 in each row of y; the same object for
    the same sizes.
  """

  def init(key, dx, dy):
    network = init_mlp(rng.stream(key, "network"), (dx, *sizes, dy))
    network[-1]["w"] = jnp.zeros_like(network[-1]["w"])
    return {"network": network, "linear": jnp.zeros((dy, dx))}

  def log_prob(params, x):
    return jax.nn.log_softmax(apply_mlp(params["network"], x) + x @ params["linear"].T)

  def pairs(params, x, y):
    return log_prob(params, x) @ y.T

  def rows(params, x, y):
    return jnp.sum(log_prob(params, x) * y, axis=1)

  return Conditional(init, pairs, rows)


@functools.lru_cache
def pairs_method(family: Conditional, report: Callable[..., Array]) -> Method:
  """Makes the method of an upper bound: q is fitted by likelihood, all pairs are reported.

  Args:
    family: of q.
    report: of [k, k] log q(y_j | x_i), e.g. `bounds.club`.

  Returns:
    A `Method`, the same object for the same arguments.
  """

  def pairs(params, x, y):
    return (family.pairs(params, x, y),)

  def rows(params, x, y):
    return (family.rows(params, x, y),)

  return Method(Model(family.init, rows), jnp.mean, jnp.mean, report, report_apply=pairs)


def linear_gaussian(x: Array, y: Array) -> Array:
  """Log q(y_j | x_i) of the linear regression of y on x with Gaussian residuals.

  Formula: q(y | x) = N(B x + c, S), B, c, S by least squares on these rows.

  Args:
    x: [n, dx].
    y: [n, dy].

  Returns:
    [n, n] nats.
  """
  n = len(x)
  inputs = jnp.concatenate([x, jnp.ones((n, 1))], axis=1)
  fitted = inputs @ jnp.linalg.lstsq(inputs, y)[0]
  residual = y - fitted
  root = jnp.linalg.cholesky(residual.T @ residual / n + 1e-6 * jnp.eye(y.shape[1]))

  def whiten(rows):
    return jax.scipy.linalg.solve_triangular(root, rows.T, lower=True)

  a, b = whiten(fitted), whiten(y)
  far = jnp.sum(jnp.square(b[:, None, :] - a[:, :, None]), axis=0)
  normaliser = jnp.sum(jnp.log(jnp.diagonal(root))) + 0.5 * y.shape[1] * LOG_2PI
  return -0.5 * far - normaliser
