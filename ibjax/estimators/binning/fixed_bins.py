"""Plug-in information of activations in bins of a fixed width.

Source: Shwartz-Ziv and Tishby 2017, "Opening the black box of deep neural networks via
information" (arXiv:1703.00810); Saxe et al. 2018, "On the information bottleneck theory of deep
learning".
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import bins
from ibjax.estimators.base.contract import Estimator

LARGEST = 2**30  # bins further out than this are one bin


def fixed_bins(
  width: Scalar = 0.07,
  edges: int | None = None,
  low: float | None = -1.0,
  high: float | None = 1.0,
) -> Estimator:
  """Counts the states of a layer whose units are cut into bins of one width.

  Formula: each row becomes the tuple of its bins, floor(t / width) or the number of edges at or
  below t, and H is the entropy of the tuples' frequencies. Without y the result is
  I(X;T) = H(T), as H(T|X) = 0 for a deterministic layer; with labels I(T;Y) = H(T) + H(Y) -
  H(T,Y); with real y, its columns are binned in the same way.

  Saxe et al.: `width` 0.07 (0.5 for MNIST). Shwartz-Ziv and Tishby: `edges=30` equally spaced in
  [-1, 1], made for tanh; exactly 1 is a bin of its own, as in theirs, and what lies outside is in
  an outermost bin of its side (theirs put what is below -1 into the highest bin).

  Use it to repeat information planes. Assumes that the width means something in the layer's
  units: the value depends on it, on the number of units and on the activation (a saturating one
  has fewer states). Bias: entropies are too low by about (occupied bins) / 2n; once most rows are
  alone in their bin, I(X;T) is log n and I(T;Y) is H(Y) whatever the layer, and a warning says
  so.

  Args:
    width: of a bin, in the units of the layer, > 0; may be traced. Not used with `edges`.
    edges: number of equally spaced edges from `low` to `high`, at least 2; None takes `width`.
    low: the first edge; None takes the least value of the array.
    high: the last edge; None takes the largest value of the array.

  Returns:
    An `Estimator` of x [n, d] and perhaps y ([n] labels or [n, e] numbers). Diagnostics:
    "alone_frac", the share of rows alone in their bin.

  Raises:
    InputError: a width that is not positive, fewer than 2 edges, `low` not below `high`.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.binning.fixed_bins import fixed_bins
    >>> layer = np.array([[-0.4], [-0.1], [0.1], [0.4]])
    >>> round(fixed_bins(width=0.5)(layer).nats, 4)  # two bins, two rows each: log 2
    0.6931

  Source: Saxe et al. 2018 (the width 0.07 is that of the code they released); Shwartz-Ziv and
  Tishby 2017 (arXiv:1703.00810), whose code has 30 equally spaced edges.
  """
  checks.at_least("width", width, 0.0, strict=True)
  if edges is not None:
    checks.at_least("edges", edges, 2)
    if low is not None and high is not None and not low < high:
      raise InputError(f"low is {low:g} and high is {high:g}; low must be below high.")

  def binned(values: Any) -> Any:
    # Values that are known are cut in float64: an edge between two of them stays there.
    xp: Any = np if isinstance(values, np.ndarray) and checks.is_concrete(width) else jnp
    if edges is None:
      return xp.clip(xp.floor(values / width), -LARGEST, LARGEST).astype(np.int32)
    first = xp.min(values) if low is None else low
    last = xp.max(values) if high is None else high
    cuts = xp.linspace(first, last, edges)
    return xp.searchsorted(cuts, values.ravel(), side="right").reshape(values.shape)

  def value(x, y, z, key) -> Value:
    y = binned(y) if y is not None and y.ndim == 2 else y
    return bins.value(binned(x), y)

  return Estimator(
    name="fixed_bins",
    value=value,
    y="any?",
    no_interval=bins.NO_INTERVAL,
    invariances=("rows",),
    jittable=True,
  )


CASES = (
  Case(
    name="four states of eight rows",
    hyper=dict(width=1.0),
    inputs=lambda: dict(
      x=np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]]).repeat(2, axis=0)
    ),
    expected=dict(nats=math.log(4), alone_frac=0.0),
    source="closed form: the entropy of four equal frequencies",
  ),
  Case(
    name="the label is one of two independent units",
    hyper=dict(width=1.0),
    inputs=lambda: dict(
      x=np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]]).repeat(2, axis=0),
      y=np.array([0, 1, 0, 1]).repeat(2),
    ),
    expected=dict(nats=math.log(2)),
    source="closed form: H(Y) = log 2, and the layer tells it",
  ),
  Case(
    name="thirty edges: below, inside, the last interval, exactly 1 and above",
    hyper=dict(edges=30),
    inputs=lambda: dict(x=np.array([-7.0, -1.5, 0.0, 0.99, 1.0, 5.0])[:, None]),
    expected=dict(nats=math.log(6) - 4 / 6 * math.log(2)),
    source="closed form: counts 2, 1, 1, 2",
  ),
  Case(
    name="real y, binned: a bit in common",
    hyper=dict(width=1.0),
    inputs=lambda: dict(
      x=np.array([0.1, 0.2, 3.1, 3.2])[:, None], y=np.array([7.5, 7.6, -2.5, -2.6])[:, None]
    ),
    expected=dict(nats=math.log(2)),
    source="closed form",
  ),
)
TRUTHS = (
  Truth("gaussian:d=1,rho=0.6", 10_000, 0.05, dict(width=0.3)),
  Truth("gaussian:d=1,rho=0.9", 10_000, 0.08, dict(width=0.2)),
)
