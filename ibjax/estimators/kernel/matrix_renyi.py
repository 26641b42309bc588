"""Matrix-based Renyi entropy and mutual information.

Source: Sanchez Giraldo, Rao and Principe 2015, "Measures of entropy from data using infinitely
divisible kernels" (arXiv:1211.2459).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import gram, spectrum
from ibjax.estimators.base.contract import Estimator

QUANTITIES = ("dependence", "entropy")


def matrix_renyi(
  alpha: Scalar = 1.01,
  sigma_x: Scalar | None = None,
  sigma_y: Scalar | None = None,
  quantity: str = "dependence",
  exact_up_to: int = 2048,
  rank: int = 128,
  probes: int = 32,
  steps: int = 16,
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Measures entropy, or dependence, by the eigenvalues of kernel matrices of trace one.

  Formula: A = K / n with K_ij = exp(-||x_i - x_j||^2 / (2 sigma^2)), B the same for y;
  S(A) = log(sum_i l_i(A)^alpha) / (1 - alpha), and I = S(A) + S(B) - S(n A o B), o being the
  product of entries. Labels have the kernel 1 where equal, else 0. At alpha = 1 it is the limit,
  -sum l log l.

  At alpha = 2, S = -log sum_ij A_ij^2 needs no eigenvalues: it is exact for every n, in one pass
  over tiles of pairs. For another alpha, eigenvalues are found up to `exact_up_to` rows; beyond,
  their sum is estimated by Lanczos quadrature from random vectors, corrected by a low-rank copy
  and the known traces. That is good for alpha >= 1; below, small eigenvalues count that float32
  does not resolve.

  It resembles Shannon's quantities without being one: in [0, log n], set by the widths. A width
  that is small beside the distances gives S = log n, and I = log n, whatever the data. Use it to
  compare layers under stated widths. Bias: grows with n towards its limit; I is too high by about
  1/n at fixed widths and independence, and more for small ones.

  Args:
    alpha: order, > 0; 1.01 is customary; may be traced (then no shortcut at 2 or 1).
    sigma_x: width of the kernel of x, a standard deviation, > 0; None takes the median distance
      of up to 512 rows; may be traced.
    sigma_y: the same for y; labels have none.
    quantity: "dependence" (I, of x and y) or "entropy" (S, of x alone).
    exact_up_to: largest n whose n by n matrices are made.
    rank: rank of the copy beyond that n.
    probes: random vectors, at least 4.
    steps: Lanczos steps from each.
    block_size: rows of a tile of pairs.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x and y, each [n, d] numbers or [n] labels, or of x alone. Diagnostics:
    "sigma_x", "sigma_y"; for the dependence "entropy_x_nats", "entropy_y_nats",
    "entropy_joint_nats".

  Raises:
    InputError: an order or width that is not positive, another quantity.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.matrix_renyi import matrix_renyi
    >>> labels = np.array([0, 0, 1, 1])
    >>> round(matrix_renyi(alpha=2.0)(labels, labels).nats, 4)  # log 2
    0.6931

  Source: Sanchez Giraldo et al. 2015 (arXiv:1211.2459), the definitions of the matrix-based
  entropy and joint entropy; in nats.
  """
  checks.at_least("alpha", alpha, 0.0, strict=True)
  checks.one_of("quantity", quantity, QUANTITIES)
  checks.at_least("probes", probes, 4)
  gram.check_widths(sigma_x, sigma_y)
  known = float(alpha) if checks.is_concrete(alpha) else None
  tiled = dict(block_size=block_size, devices=devices)

  def entropies(compare, rows, key):
    """Of each kernel, and of their product if there are two."""
    groups = [(compare[0],), (compare[-1],), compare][: 2 * len(compare) - 1]
    data = [(rows[0],), (rows[-1],), rows]
    if known == 2.0:
      means = gram.means((compare[0], compare[-1]), rows[0], rows[-1], **tiled)
      squares = (means.kk, means.ll, means.kkll)
      return [-jnp.log(jnp.mean(one)) for one in squares[: len(groups)]]
    n = len(rows[0])
    if n <= exact_up_to:
      return [_exact(one, part, alpha, limit=known == 1.0) for one, part in zip(groups, data)]
    sizes = dict(rank=min(rank, n), probes=probes, steps=steps, limit=known == 1.0, **tiled)
    return [_estimated(one, part, alpha, key, **sizes) for one, part in zip(groups, data)]

  def value(x, y, z, key) -> Value:
    compare = gram.choose(x, "gaussian")
    first = gram.prepare(x, compare, sigma_x)
    if quantity == "entropy":
      (nats,) = entropies((compare,), (first.rows,), key)
      return Value(nats, extra={"sigma_x": first.sigma})
    other = gram.choose(y, "gaussian")
    second = gram.prepare(y, other, sigma_y)
    s_x, s_y, s_xy = entropies((compare, other), (first.rows, second.rows), key)
    return Value(
      s_x + s_y - s_xy,
      extra={
        "sigma_x": first.sigma,
        "sigma_y": second.sigma,
        "entropy_x_nats": s_x,
        "entropy_y_nats": s_y,
        "entropy_joint_nats": s_xy,
      },
    )

  widths = (sigma_x, sigma_x if quantity == "entropy" else sigma_y)
  found = gram.invariances("gaussian", *widths)
  return Estimator(
    name="matrix_renyi",
    value=value,
    x="any",
    y="any" if quantity == "dependence" else "none",
    quantity=quantity,
    no_interval="it depends on n and the widths more than on the draw of the samples",
    invariances=tuple(one for one in found if one != "swap" or quantity == "dependence"),
    jittable=True,
    needs_key=known != 2.0,
  )


def _powers(eigenvalues, alpha, limit):
  """l^alpha - l, whose sum is that of the powers less the trace; or -l log l."""
  # Rounding leaves small values of either sign where there is none.
  kept = eigenvalues > 1e-7
  safe = jnp.where(kept, eigenvalues, 1.0)
  # Near alpha = 1 the difference of two powers would have no digits left.
  values = -safe * jnp.log(safe) if limit else safe * jnp.expm1((alpha - 1.0) * jnp.log(safe))
  return jnp.where(kept, values, 0.0)


def _entropy(total, alpha, limit):
  return total if limit else jnp.log1p(total) / (1.0 - alpha)


@functools.partial(jax.jit, static_argnames=("compare", "limit"))
def _exact(compare, rows, alpha, *, limit):
  n = len(rows[0])
  index = jnp.arange(n)
  blocks = (gram.block(one, part, part, index, index) for one, part in zip(compare, rows))
  eigenvalues = jnp.linalg.eigvalsh(functools.reduce(jnp.multiply, blocks) / n)
  return _entropy(jnp.sum(_powers(eigenvalues, alpha, limit)), alpha, limit)


@functools.partial(
  jax.jit,
  static_argnames=("compare", "limit", "rank", "probes", "steps", "block_size", "devices"),
)
def _estimated(compare, rows, alpha, key, *, limit, rank, probes, steps, block_size, devices):
  n = len(rows[0])
  tiled = dict(block_size=block_size, devices=devices)
  means = gram.means((compare[0], compare[-1]), rows[0], rows[-1], **tiled)
  square = jnp.mean(means.kk if len(compare) == 1 else means.kkll)
  totals, _ = spectrum.sums(
    lambda v: gram.multiply(compare, rows, v, **tiled) / n,
    lambda eigenvalues: _powers(eigenvalues, alpha, limit)[..., None],
    n,
    jnp.stack([jnp.float32(1.0), square]),
    key,
    rank=rank,
    probes=probes,
    steps=steps,
  )
  return _entropy(totals[0], alpha, limit)


def _pair_nats(alpha: float) -> float:
  """Two points have the eigenvalues (1 + k) / 2 and (1 - k) / 2."""
  k, l = math.exp(-0.5), math.exp(-2.0)  # noqa: E741

  def entropy(value: float) -> float:
    p = np.array([1 + value, 1 - value]) / 2
    if alpha == 1.0:
      return float(-np.sum(p * np.log(p)))
    return float(np.log(np.sum(p**alpha)) / (1 - alpha))

  return entropy(k) + entropy(l) - entropy(k * l)


CASES = tuple(
  Case(
    name=f"two points, alpha = {alpha}",
    hyper=dict(alpha=alpha, sigma_x=1.0, sigma_y=1.0),
    inputs=lambda: dict(x=np.array([0.0, 1.0]), y=np.array([0.0, 2.0])),
    expected=dict(nats=_pair_nats(alpha)),
    source="closed form: eigenvalues of 2 by 2 matrices",
    rtol=1e-4,
  )
  for alpha in (0.5, 1.0, 2.0, 3.0)
) + (
  Case(
    name="three equal classes: entropy log 3 for every alpha",
    hyper=dict(quantity="entropy"),
    inputs=lambda: dict(x=np.array([0, 1, 2, 0, 1, 2])),
    expected=dict(nats=math.log(3)),
    source="closed form: three eigenvalues of 1/3",
    rtol=1e-4,
  ),
  Case(
    name="points far apart, alpha = 2",
    hyper=dict(alpha=2.0, sigma_x=0.1, quantity="entropy"),
    inputs=lambda: dict(x=np.arange(7.0)),
    expected=dict(nats=math.log(7)),
    source="limit: log n",
  ),
)
TRUTHS = ()
# What the checks that need no particular value are run with.
TINY = dict(alpha=1.5, sigma_x=1.0, sigma_y=1.0, exact_up_to=20, rank=8, probes=4, steps=4)
