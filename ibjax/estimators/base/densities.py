"""Densities of y, given a context or not, that are fitted by likelihood."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.numerics import gaussian_log_prob
from ibjax.estimators.base.networks import apply_mlp, init_mlp
from ibjax.estimators.base.spline import parameters_of, spline

Array = jax.Array
Tree = Any
FAMILIES = ("gaussian", "logistic", "flow")


class Density(NamedTuple):
  """A family of conditional densities.

  Attributes:
    init: `init(key, dx, dy) -> params`; starts near a standard density, whatever the context.
    log_prob: `log_prob(params, y [n, dy], context [n, dx]) -> [n]` nats.
  """

  init: Callable[..., Tree]
  log_prob: Callable[..., Array]


def make_density(family: str = "flow", sizes: tuple[int, ...] = (64, 64), bins: int = 8) -> Density:
  """Makes a family of conditional densities by its name.

  Formula: q(y | c) = prod_i q_i(y_i), each with a location m and a log scale s that a perceptron
  reads from c. "gaussian", "logistic": q_i is of that shape, and the y_i are independent given c.
  "flow": the perceptron reads y_1 .. y_(i-1) too (its weights are masked so that it sees nothing
  else), and (y_i - m) / e^s is a standard Gaussian after a monotone spline: any continuous
  density can be approached.

  Args:
    family: "gaussian", "logistic" or "flow".
    sizes: widths of the perceptron's hidden layers; for a flow at least dy each.
    bins: of each spline of a flow.

  Returns:
    A `Density`.

  Raises:
    InputError: another family, fewer than two bins.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.estimators.base.densities import make_density
    >>> density = make_density("flow")
    >>> params = density.init(jax.random.key(0), 3, 1)
    >>> round(float(density.log_prob(params, jnp.zeros((1, 1)), jnp.ones((1, 3)))[0]), 5)
    -0.91894

  Source: Papamakarios et al. 2017 (arXiv:1705.07057), masked autoregressive flows; Durkan et al.
    2019 (arXiv:1906.04032), the spline.
  """
  checks.one_of("family", family, FAMILIES)
  checks.at_least("bins", bins, 2)
  per = 2 + (parameters_of(bins) if family == "flow" else 0)

  def init(key, dx, dy):
    params = init_mlp(key, (dx + dy if family == "flow" else dx, *sizes, dy * per))
    params[-1]["w"] = jnp.zeros_like(params[-1]["w"])
    return params

  def log_prob(params, y, context):
    dx, dy = context.shape[1], y.shape[1]
    if family == "flow":
      masks = _masks(dx, dy, tuple(len(layer["b"]) for layer in params[:-1]), per)
      params = [{"w": layer["w"] * mask, "b": layer["b"]} for layer, mask in zip(params, masks)]
      context = jnp.concatenate([context, y], axis=1)
    raw = apply_mlp(params, context, jax.nn.silu).reshape(len(y), dy, per)
    location, log_scale = raw[..., 0], raw[..., 1]
    if family == "gaussian":
      return gaussian_log_prob(y, location, log_scale)
    u = (y - location) * jnp.exp(-log_scale)
    if family == "logistic":
      return jnp.sum(jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u) - log_scale, axis=-1)
    z, log_slope = spline(u, raw[..., 2:])
    zero = jnp.zeros_like(z)
    return gaussian_log_prob(z, zero, zero) + jnp.sum(log_slope - log_scale, axis=-1)

  return Density(init, log_prob)


@functools.cache
def _masks(dx: int, dy: int, widths: tuple[int, ...], per: int) -> list[np.ndarray]:
  """Which weights a flow may use: a unit of degree m sees the context and y_1 .. y_m only."""
  degree = np.concatenate([np.zeros(dx, int), np.arange(1, dy + 1)])
  masks = []
  for width in widths:
    own = np.arange(width) % dy
    masks.append((own[:, None] >= degree).astype(np.float32))
    degree = own
  masks.append((np.repeat(np.arange(dy), per)[:, None] >= degree).astype(np.float32))
  return masks
