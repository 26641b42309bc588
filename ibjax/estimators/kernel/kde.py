"""Mutual information and entropy by kernel density estimates that leave the point itself out.

Source: Moon, Rajagopalan and Lall 1995, "Estimation of mutual information using kernel density
estimators"; bandwidth: Silverman 1986, "Density estimation for statistics and data analysis".
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Note, Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import kernels, tiles
from ibjax.estimators.base.contract import Estimator

QUANTITIES = ("mutual_information", "entropy")


def kde(
  factor: Scalar = 1.0,
  quantity: str = "mutual_information",
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Estimates I(X;Y) or H(X) by Gaussian kernel densities, leaving out the point itself.

  Formula: f(x_i) = 1/(n-1) sum_{j != i} N(x_i; x_j, diag(h^2)) with the normal-reference rule
  h_k = factor * s_k (4 / ((d + 2) n))^(1 / (d + 4)), s_k the standard deviation of column k and d
  the number of columns of x and y together; H = -mean log f(x_i), and
  I = mean log f(x_i, y_i) / (f(x_i) f(y_i)) with the same h in the joint density as in the
  margins. With labels I = mean log f(x_i | y_i) / f(x_i), leaving x_i out of both.

  Assumes a density that is smooth at the scale h. Use it for few columns (up to about 4 in all)
  and unimodal data. Bias: entropies are too high, as the kernel widens the density; in I this
  cancels in part, and what is left is downwards: strong dependence is smoothed away. Several
  modes or heavy tails make h too wide: lower `factor`. Many columns leave no neighbours within h:
  then the estimate is noise.

  Args:
    factor: multiplies the bandwidths, > 0; may be traced.
    quantity: "mutual_information" (of x and y) or "entropy" (of x alone).
    block_size: rows of a tile of pairs; memory is a few times its square.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x [n, d] and y ([n, e] numbers or [n] labels), or of x alone; `local` values.
    Rows that are alone in their class count as zero, with a warning.

  Raises:
    InputError: a factor that is not positive, another quantity.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.kde import kde
    >>> x, e = np.random.default_rng(0).normal(size=(2, 1000))
    >>> bool(abs(kde()(x, 0.8 * x + 0.6 * e).nats - 0.511) < 0.1)
    True

  Source: Moon et al. 1995 (mutual information by kernel densities); Silverman 1986, eq. 4.14 (the
  bandwidth).
  """
  checks.at_least("factor", factor, 0.0, strict=True)
  checks.one_of("quantity", quantity, QUANTITIES)

  def value(x, y, z, key) -> Value:
    n, d = x.shape
    real = y is not None and y.ndim == 2
    columns = d + (y.shape[1] if real else 0)
    shrink = factor * (4.0 / ((columns + 2) * n)) ** (1.0 / (columns + 4))
    first, widths = _scaled(x, shrink)
    if y is None:
      second = jnp.zeros(n, jnp.int32)
    else:
      second = _scaled(y, shrink)[0] if real else jnp.asarray(y, jnp.int32)
    own, other, both = _log_sums(first, second, block_size=block_size, devices=devices)
    if y is None:
      local = math.log(n - 1) + 0.5 * d * math.log(2 * math.pi) + jnp.sum(jnp.log(widths)) - own
      return Value(jnp.mean(local), local)
    alone = jnp.isneginf(other)
    local = jnp.where(alone, 0.0, both - other - own + math.log(n - 1))
    return Value(jnp.mean(local), local, notes=_notes(alone))

  return Estimator(
    name="kde",
    value=value,
    y="any" if quantity == "mutual_information" else "none",
    quantity=quantity,
    no_interval="the bias of the bandwidth is often larger than the spread",
    invariances=("translation", "rows")
    + (("scale", "swap") if quantity == "mutual_information" else ()),
    jittable=True,
  )


def _scaled(values, shrink):
  """Columns in units of their bandwidths [n, d], and the bandwidths [d]."""
  centred = kernels.centre(values)
  std = jnp.std(centred, axis=0, ddof=1)
  return centred / (shrink * jnp.where(std > 0, std, 1.0)), shrink * std


@functools.partial(jax.jit, static_argnames=("block_size", "devices"))
def _log_sums(x, y, *, block_size, devices):
  """log sum_{j != i} of the kernels of x, of y and of their product, each [n]."""

  def exponent(a, b):
    if a.ndim == 1:  # labels
      return jnp.where(a[:, None] == b, 0.0, -jnp.inf)
    return -0.5 * kernels.squared_distances(a, b)

  def tile(carry, own, other, i, j):
    counted = (j >= 0) & (i[:, None] != j)
    parts = [exponent(a, b) for a, b in zip(own, other)]
    return tuple(
      jnp.logaddexp(total, jax.nn.logsumexp(jnp.where(counted, part, -jnp.inf), axis=1))
      for total, part in zip(carry, (*parts, parts[0] + parts[1]))
    )

  def start(size):
    return (jnp.full(size, -jnp.inf),) * 3

  return tiles.fold_pairs(tile, start, (x, y), (x, y), block_size=block_size, devices=devices)


def _notes(alone) -> tuple[Note, ...]:
  if not checks.is_concrete(alone) or not (count := int(np.sum(np.asarray(alone)))):
    return ()
  return (
    Note(
      "singletons",
      f"{count} rows are alone in their class and count as 0 nats; give classes of two rows or "
      "more.",
    ),
  )


def _three() -> np.ndarray:
  return np.array([0.0, 1.0, 3.0])


def _three_entropy() -> float:
  x = _three()
  h = x.std(ddof=1) * (4 / (3 * 3)) ** (1 / 5)
  near = np.exp(-((x[:, None] - x) ** 2) / (2 * h * h)) * (1 - np.eye(3))
  return float(-np.mean(np.log(near.sum(1) / (2 * h * math.sqrt(2 * math.pi)))))


CASES = (
  Case(
    name="entropy of three points",
    hyper=dict(quantity="entropy"),
    inputs=lambda: dict(x=_three()),
    expected=dict(nats=_three_entropy()),
    source="independent computation with a dense matrix",
  ),
  Case(
    name="classes far apart",
    hyper=dict(factor=0.01),
    inputs=lambda: dict(
      x=np.repeat([0.0, 1.0], 4) + 1e-6 * np.arange(8), y=np.repeat(np.array([0, 1]), 4)
    ),
    expected=dict(nats=math.log(7 / 3)),
    source="closed form: three neighbours of seven, all in the class",
    rtol=1e-4,
  ),
)
TRUTHS = (
  Truth("gaussian:d=1,rho=0.6", 2000, 0.05),
  Truth("gaussian:d=1,rho=0.9", 2000, 0.12),
  Truth("bmi:1v1-normal-0.75", 2000, 0.06),
  Truth("gaussian:d=1,rho=0.6", 2000, 0.08, dict(quantity="entropy"), "x"),
)
