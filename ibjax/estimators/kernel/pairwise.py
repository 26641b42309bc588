"""Kolchinsky and Tracey's pairwise bounds on the information of a layer with Gaussian noise.

Source: Kolchinsky and Tracey 2017, "Estimating mixture entropy with pairwise distances"
(arXiv:1706.02419).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Note, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import kernels, tiles
from ibjax.estimators.base.contract import Estimator


def pairwise(
  variance: Scalar = 1e-3,
  bound: str = "upper",
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Bounds I(X;T) of a deterministic layer t = h(x) to which Gaussian noise is added.

  Formula: with T = h(X) + N(0, s^2 I) and d_ij = ||t_i - t_j||^2,
  I(X;T) <= -1/n sum_i log 1/n sum_j exp(-d_ij / (2 s^2)), and >= the same with 8 s^2 in place of
  2 s^2. With labels I(T;Y) = H(T) - sum_y p(y) H(T|y), both by the same formula; the noise
  entropy (d/2) log(2 pi e s^2) cancels.

  The layer is given as x. Without y the result is I(X;T), with labels y it is I(T;Y).

  Assumes that X is uniform over the n samples given: it is the information about which of them
  was fed in, so it lies in [0, log n]. Use it for information planes, with a variance that the
  network really has or that is stated. Bias: the value depends on s above all; near log n it says
  that s is small beside the distances, and nothing of the network. The two bounds meet where
  samples coincide or lie far apart. As an estimate for a continuous X it is too low by what
  exceeds log n. I(T;Y) is a difference of two bounds of one kind, and itself neither.

  Args:
    variance: s^2 of the noise in each unit, > 0 (a variance, in the squared units of the layer);
      may be traced.
    bound: "upper" (from the KL divergence of the components) or "lower" (Bhattacharyya).
    block_size: rows of a tile of pairs; memory is a few times its square.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x [n, d] (the layer, without the noise) and perhaps labels y [n].

  Raises:
    InputError: a variance that is not positive, another bound.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.pairwise import pairwise
    >>> layer = np.repeat([[0.0], [9.0]], 4, axis=0)  # two states, far apart
    >>> round(pairwise(variance=0.1)(layer).nats, 4)  # log 2
    0.6931

  Source: Kolchinsky and Tracey 2017 (arXiv:1706.02419), the bounds by the KL divergence and by
  the Bhattacharyya distance for components of one covariance; used on layers by Saxe et al. 2018,
  "On the information bottleneck theory of deep learning".
  """
  checks.at_least("variance", variance, 0.0, strict=True)
  checks.one_of("bound", bound, ("upper", "lower"))
  spread = 2.0 if bound == "upper" else 8.0

  def value(x, y, z, key):
    layer = kernels.centre(x)
    labels = None if y is None else jnp.asarray(y, jnp.int32)
    scale = jnp.sqrt(spread * jnp.asarray(variance, jnp.float32))
    local = _local(layer / scale, labels, block_size=block_size, devices=devices)
    nats = jnp.mean(local)
    return Value(nats, local, notes=_notes(nats, layer / scale, labels))

  return Estimator(
    name="pairwise",
    value=value,
    y="labels?",
    bound=bound,
    bound_with_y="neither",
    no_interval="the value is exact for the samples given; what the noise stands for is unknown",
    invariances=("translation", "rows"),
    jittable=True,
  )


@functools.partial(jax.jit, static_argnames=("block_size", "devices"))
def _local(layer, labels, *, block_size, devices):
  """-log mean_j exp(-||t_i - t_j||^2) of each row, or log of the class's mean over it, [n]."""
  n = len(layer)
  same = jnp.zeros(n, jnp.int32) if labels is None else labels

  def tile(carry, own, other, i, j):
    all_of, within, count = carry
    (a, of_a), (b, of_b) = own, other
    distances = jnp.where(i[:, None] == j, 0.0, kernels.squared_distances(a, b))
    near = jnp.where(j >= 0, jnp.exp(-distances), 0.0)
    mates = (of_a[:, None] == of_b) & (j >= 0)
    return (
      all_of + jnp.sum(near, axis=1),
      within + jnp.sum(jnp.where(mates, near, 0.0), axis=1),
      count + jnp.sum(mates, axis=1, dtype=jnp.float32),
    )

  def start(block):
    return (jnp.zeros(block),) * 3

  rows = (layer, same)
  all_of, within, count = tiles.fold_pairs(
    tile, start, rows, rows, block_size=block_size, devices=devices
  )
  outer = jnp.log(all_of / n)
  return -outer if labels is None else jnp.log(within / count) - outer


def _notes(nats, layer, labels) -> tuple[Note, ...]:
  if not checks.is_concrete(nats):
    return ()
  notes = []
  n, d = layer.shape
  if labels is None and float(nats) > 0.99 * math.log(n):
    notes.append(
      Note(
        "saturated",
        f"{float(nats):.3f} nats is log n = {math.log(n):.3f}: the noise is so small that every "
        "sample is a state of its own, whatever the layer. Give a larger variance or more samples.",
      )
    )
  error = 4e-7 * float(np.max(np.sum(np.square(np.asarray(layer)), axis=1)))
  if d > kernels.DIRECT_UP_TO and error > 0.1:
    notes.append(
      Note(
        "precision",
        "the noise is so small beside the layer that rounding moves the exponents by about "
        f"{error:.2g}; give a larger variance.",
      )
    )
  return tuple(notes)


CASES = (
  Case(
    name="two points at distance 2, s = 1",
    hyper=dict(variance=1.0),
    inputs=lambda: dict(x=np.array([[0.0, 0.0], [2.0, 0.0]])),
    expected=dict(nats=-math.log((1 + math.exp(-2.0)) / 2)),
    source="closed form",
  ),
  Case(
    name="the same, lower bound",
    hyper=dict(variance=1.0, bound="lower"),
    inputs=lambda: dict(x=np.array([[0.0, 0.0], [2.0, 0.0]])),
    expected=dict(nats=-math.log((1 + math.exp(-0.5)) / 2)),
    source="closed form",
  ),
  Case(
    name="points far apart",
    hyper=dict(variance=1e-3),
    inputs=lambda: dict(x=np.arange(8.0)[:, None]),
    expected=dict(nats=math.log(8)),
    source="limit: log n",
  ),
  Case(
    name="two clusters that are the labels",
    hyper=dict(variance=1e-2),
    inputs=lambda: dict(x=np.repeat([[0.0], [5.0]], 3, axis=0), y=np.repeat(np.array([0, 1]), 3)),
    expected=dict(nats=math.log(2)),
    source="limit: the label is known from the layer, H(Y) = log 2",
  ),
)
TRUTHS = ()
NO_TRUTHS = "the noise is part of the method, and no task adds it"
