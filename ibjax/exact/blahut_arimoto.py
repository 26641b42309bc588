"""The fixed-point iteration of the discrete information bottleneck, compiled and accelerated.

One update is the Blahut-Arimoto iteration of Tishby, Pereira and Bialek 1999; three of them make a
cycle of squared extrapolation (SQUAREM; Varadhan and Roland 2008, Scandinavian Journal of
Statistics 35:335), which is taken only where it lowers the Lagrangian, so that this never rises.
Clusters are kept by the logarithms of p(t) and p(y|t). Inside, encoders are [..., kt, kx]: products
with the table are then one large matrix product, however many problems there are.

Source: Tishby, Pereira and Bialek 1999, "The information bottleneck method" (arXiv:physics/0004057)
section 3; Strouse and Schwab 2017, "The deterministic information bottleneck" (Neural Computation
29:1611, arXiv:1604.00268) for alpha.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import xlogy

Array = jax.Array

# Stands for -log 0: times any probability and beta it is still finite, and decides.
_NEVER = 1e25


class Table(NamedTuple):
  """What the iteration needs of p(x, y).

  Attributes:
    joint: [kx, ky].
    given: [kx, ky] p(y|x).
    negentropy: [kx] sum_y p(y|x) log p(y|x).
    weight: [kx] p(x).
  """

  joint: Array
  given: Array
  negentropy: Array
  weight: Array


def table(joint: np.ndarray, dtype: type) -> Table:
  """Prepares a joint table.

  Args:
    joint: [kx, ky], summing to 1.
    dtype: float32 or float64 (inside `jax.enable_x64`).

  Returns:
    A `Table`.
  """
  weight = joint.sum(axis=1)
  given = joint / weight[:, None]
  parts = (joint, given, xlogy(given, given).sum(axis=1), weight)
  return Table(*(jnp.asarray(part, dtype) for part in parts))


def update(encoder: Array, beta: Array, alpha: Array, data: Table) -> tuple[Array, Array]:
  """One update of encoders, and a Lagrangian between the old one's and the new one's.

  Formula: p(t|x) <- p(t)^(1/alpha) exp(-beta/alpha KL(p(y|x) || p(y|t))) / Z(x), with p(t) and
  p(y|t) of the old encoder; the value is -alpha sum_x p(x) log Z(x), which is
  H(T) - alpha H(T|X) - beta I(T;Y) + beta I(X;Y) at a fixed point, and an upper bound on it of the
  new encoder.

  Args:
    encoder: [..., kt, kx] p(t|x), x last.
    beta: [...], multiplies I(T;Y).
    alpha: scalar, 1 for the information bottleneck, towards 0 for the deterministic one.
    data: from `table`.

  Returns:
    (new encoder, value [...]), nats.
  """
  both = encoder @ data.joint
  cluster = jnp.sum(both, axis=-1, keepdims=True)
  log_cluster = jnp.log(jnp.where(cluster > 0, cluster, 1.0))
  log_given = jnp.where(both > 0, jnp.log(jnp.where(both > 0, both, 1.0)) - log_cluster, -_NEVER)
  divergence = data.negentropy - log_given @ data.given.T
  logits = (log_cluster - beta[..., None, None] * divergence) / alpha
  # An empty cluster costs nothing at beta = 0 by its divergence alone.
  logits = jnp.where(cluster > 0, logits, -_NEVER)
  most = jnp.max(logits, axis=-2, keepdims=True)
  share = jnp.exp(logits - most)
  total = jnp.sum(share, axis=-2, keepdims=True)
  value = -alpha * jnp.sum(data.weight * (jnp.log(total) + most)[..., 0, :], axis=-1)
  return share / total, value


def _cycle(encoder: Array, beta: Array, alpha: Array, data: Table) -> tuple[Array, Array, Array]:
  first, start = update(encoder, beta, alpha, data)
  second, value = update(first, beta, alpha, data)
  change = first - encoder
  bend = second - first - change
  size, curvature = (jnp.sum(a * a, axis=(-2, -1), keepdims=True) for a in (change, bend))
  stride = jnp.maximum(jnp.sqrt(size / jnp.maximum(curvature, 1e-30)), 1.0)
  further = encoder + 2.0 * stride * change + stride**2 * bend
  further = jnp.maximum(further, 0.1 * second)  # no cluster is killed by an extrapolation
  third, reached = update(further / jnp.sum(further, axis=-2, keepdims=True), beta, alpha, data)
  slack = 8.0 * jnp.finfo(encoder.dtype).eps * (1.0 + beta)  # rounding is no rise
  taken = reached <= value + slack
  best = jnp.where(taken, reached, value)
  return jnp.where(taken[..., None, None], third, second), best, start - best


def _run(encoder, beta, alpha, data, tolerance, cycles):
  def body(carry):
    encoder, _, _, number = carry
    return (*_cycle(encoder, beta, alpha, data), number + 1)

  def more(carry):
    return (carry[3] < cycles) & (jnp.max(carry[2]) > tolerance)

  start = jnp.full(beta.shape, jnp.inf, encoder.dtype)
  return jax.lax.while_loop(more, body, (encoder, start, start, 0))[:3]


@jax.jit
def converge(
  encoder: Array, beta: Array, alpha: Array, data: Table, tolerance: Array, cycles: Array
) -> tuple[Array, Array, Array]:
  """Runs cycles until no problem of the batch falls by more than the tolerance in one.

  Args:
    encoder: [n, kx, kt] starts.
    beta: [n].
    alpha: scalar.
    data: from `table`.
    tolerance: nats.
    cycles: the most there may be.

  Returns:
    (encoders [n, kx, kt], values [n] as in `update`, what the last cycle won [n]), nats.
  """
  found, value, won = _run(encoder.mT, beta, alpha, data, tolerance, cycles)
  return found.mT, value, won


@functools.partial(jax.jit, static_argnames="cycles")
def anneal(
  starts: Array,
  random: Array,
  betas: Array,
  noise: Array,
  alpha: Array,
  data: Table,
  tolerance: Array,
  cycles: int,
) -> Array:
  """Follows several solutions along a sequence of betas, each from where the one before ended.

  Args:
    starts: [restarts, kx, kt].
    random: [restarts, kx, kt] encoders that are mixed in.
    betas: [b], in the order in which they are visited.
    noise: [restarts] weight of the random encoder before each beta, its rows turned by one more
      value of x every time.
    alpha: scalar.
    data: from `table`.
    tolerance: nats, see `converge`.
    cycles: the most there may be at each beta.

  Returns:
    [b, kx, kt] the best encoder of each beta.
  """

  def visit(carry, beta):
    encoders, random = carry
    random = jnp.roll(random, 1, axis=2)
    mixed = encoders + noise[:, None, None] * (random - encoders)
    beta = jnp.broadcast_to(beta, starts.shape[:1])
    encoders, values, _ = _run(mixed, beta, alpha, data, tolerance, cycles)
    return (encoders, random), encoders[jnp.argmin(values)]

  return jax.lax.scan(visit, (starts.mT, random.mT), betas)[1].mT
