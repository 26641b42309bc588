"""Entropy-based adaptive binning (EBAB): edges that hold equally many distinct activations.

Source: Chelombiev, Houghton and O'Donnell 2019, "Adaptive estimators show information compression
in deep neural networks" (arXiv:1902.09037).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.estimate import Value
from ibjax.core.types import Case
from ibjax.estimators.base import bins
from ibjax.estimators.base.contract import Estimator


def adaptive_bins(count: int = 30, low: float | None = None) -> Estimator:
  """Counts the states of a layer in bins that follow the distribution of its activations.

  Formula: of the m distinct values u_0 < ... < u_{m-1} of all units over all samples, without
  `low`, the edges are low, u_[floor(k m / count)] for k = 0..count-1, and u_{m-1}, the same for
  all units. Each row becomes the tuple of its bins. Without y the result is I(X;T) = H(T), with
  labels I(T;Y) = H(T) + H(Y) - H(T,Y); with real y, its columns are binned by edges of their own.

  Use it to compare activations and epochs: any increasing function common to all units of the
  layer leaves it as it is, so that no width has to be chosen for unbounded units. Assumes that
  the order of magnitudes among units means something. Bias: as of `fixed_bins`; values that occur
  often (the zeros of a ReLU) count once when the edges are laid, which is the method.

  Args:
    count: bins of equally many distinct values, at least 1; the largest value and `low` each are
      in bins of their own besides.
    low: the value at which the activation saturates below, kept out of the distinct values: 0.0
      for ReLU and softplus, -1.0 for tanh and ELU; None where there is none.

  Returns:
    An `Estimator` of x [n, d] and perhaps y ([n] labels or [n, e] numbers). Diagnostics:
    "alone_frac", the share of rows alone in their bin.

  Raises:
    InputError: a count below 1; when called, values of x below `low`.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.binning.adaptive_bins import adaptive_bins
    >>> layer = np.random.default_rng(0).normal(size=(200, 2))
    >>> adaptive_bins()(layer).nats == adaptive_bins()(np.exp(layer)).nats
    True

  Source: Chelombiev et al. 2019 (arXiv:1902.09037), with the edges of the code they released.
  """
  checks.at_least("count", count, 1)

  def value(x, y, z, key) -> Value:
    if low is not None and isinstance(x, np.ndarray) and x.min() < low:
      raise InputError(
        f"adaptive_bins: x has the value {x.min():g}, below low={low:g}; give low=None, or the "
        "value at which the activation saturates."
      )
    y = _binned(y, None, count) if y is not None and y.ndim == 2 else y
    return bins.value(_binned(x, low, count), y)

  return Estimator(
    name="adaptive_bins",
    value=value,
    y="any?",
    no_interval=bins.NO_INTERVAL,
    invariances=("rows",) + (("translation", "scale") if low is None else ()),
    jittable=True,
  )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _binned(x, low, count):
  """Bins of all entries, int32 of the shape of x."""
  values = jnp.asarray(x, jnp.float32)
  ordered = jnp.sort(values.ravel())
  size = len(ordered)
  new = jnp.concatenate([jnp.ones(1, bool), jnp.diff(ordered) > 0])
  if low is not None:
    new &= ordered > low
  rank = jnp.cumsum(new, dtype=jnp.int32) - 1
  distinct = jnp.full(size, jnp.inf).at[jnp.where(new, rank, size)].set(ordered, mode="drop")
  m = rank[-1] + 1
  k = jnp.arange(count, dtype=jnp.int32)
  # floor(k m / count) without the product, which may exceed an int32.
  places = k * (m // count) + k * (m % count) // count
  cuts = jnp.append(distinct[places], distinct[m - 1])
  return jnp.searchsorted(cuts, values.ravel(), side="right").astype(jnp.int32).reshape(x.shape)


CASES = (
  Case(
    name="eight distinct values in four bins; the largest is alone",
    hyper=dict(count=4),
    inputs=lambda: dict(x=np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])[:, None]),
    expected=dict(nats=math.log(8) - 6 / 8 * math.log(2), alone_frac=0.25),
    source="closed form: counts 2, 2, 2, 1, 1",
  ),
  Case(
    name="the zeros of a ReLU are one bin, and do not move the edges",
    hyper=dict(count=2, low=0.0),
    inputs=lambda: dict(x=np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0])[:, None]),
    expected=dict(nats=math.log(8) - (4 * math.log(4) + 2 * math.log(2)) / 8),
    source="closed form: counts 4, 2, 1, 1",
  ),
  Case(
    name="a label told by the order of one unit",
    hyper=dict(count=2),
    inputs=lambda: dict(x=np.arange(6.0)[:, None], y=np.array([0, 0, 0, 1, 1, 1])),
    expected=dict(nats=math.log(2)),
    source="closed form: H(Y) = log 2",
  ),
)
TRUTHS = ()
NO_TRUTHS = "the bins decide the value, and no task knows them"
