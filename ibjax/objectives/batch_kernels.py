"""Dependence by kernels between the examples of one batch: masked, traced, differentiable.

The estimators measure the same quantities of many samples, in tiles and once. Here a batch's
matrix is small enough to be kept, is differentiated at every step, and has rows that do not count.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Scalar
from ibjax.estimators.base import gram, kernels

Array = jax.Array

RULES = ("fixed", "dimension", "median")
FORMS = ("hsic", "nhsic", "cka")
FLOOR = 1e-6  # added below a ratio whose denominator goes to zero as the code collapses
MEDIAN_ROWS = 128  # rows the median rule looks at


def check_width(name: str, width: Scalar, rule: str) -> None:
  """Raises InputError for a width that is not positive, or an unknown rule.

  Args:
    name: what the width is of: "x", "y" or "z".
    width: of the kernel, > 0.
    rule: one of `RULES`.

  Example:
    >>> from ibjax.objectives.batch_kernels import check_width
    >>> check_width("x", 1.0, "median")
  """
  checks.at_least(f"width_{name}", width, 0.0, strict=True)
  checks.one_of(f"rule_{name}", rule, RULES)


def at_least_float32(values: Array) -> Array:
  """Widens whole numbers and short floats to float32.

  Args:
    values: any shape.

  Returns:
    The same values.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import at_least_float32
    >>> at_least_float32(jnp.zeros(2, jnp.bfloat16)).dtype
    dtype('float32')
  """
  return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def rows(values: Array, mask: Array) -> Array:
  """Flattens examples, centres them and puts zeros where they are masked.

  Args:
    values: [n, ...].
    mask: [n] bool, True where the example counts.

  Returns:
    [n, d], float32 or wider; a masked value is never looked at.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import rows
    >>> rows(jnp.array([[1.0], [3.0], [jnp.nan]]), jnp.array([True, True, False])).tolist()
    [[-1.0], [1.0], [0.0]]
  """
  flat = at_least_float32(values.reshape(values.shape[0], -1))
  counted = mask[:, None]
  mean = jnp.sum(jnp.where(counted, flat, 0.0), axis=0) / _count(mask)
  return jnp.where(counted, flat - mean, 0.0)


def width_of(values: Array, mask: Array, width: Scalar, rule: str) -> Array:
  """The standard deviation of a Gaussian kernel, in the units of its rows.

  Formula: "fixed" width, "dimension" width sqrt(d), "median" width times the median distance of
  up to 128 rows that count (their mean distance if that is 0, 1 if that is 0 too). No gradient
  passes through the median: it is a choice of scale, not a quantity that is minimised.

  Args:
    values: [n, d], as `rows` makes them.
    mask: [n] bool.
    width: > 0.
    rule: one of `RULES`.

  Returns:
    Scalar.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import width_of
    >>> x, mask = jnp.array([[0.0], [1.0], [3.0]]), jnp.ones(3, bool)
    >>> [float(width_of(x, mask, 2.0, rule)) for rule in ("fixed", "median")]
    [2.0, 4.0]
  """
  if rule == "fixed":
    return jnp.asarray(width, jnp.float32)
  if rule == "dimension":
    return width * jnp.sqrt(jnp.float32(values.shape[1]))
  step = -(-values.shape[0] // MEDIAN_ROWS)
  some, counted = jax.lax.stop_gradient(values[::step]), mask[::step]
  pairs = counted[:, None] & counted & jnp.triu(jnp.ones((len(some),) * 2, bool), 1)
  distances = jnp.sqrt(kernels.squared_distances(some, some))
  ordered = jnp.sort(jnp.where(pairs, distances, jnp.inf).reshape(-1))
  count = jnp.sum(pairs)
  low, high = jnp.maximum(count - 1, 0) // 2, count // 2
  median = jnp.where(count > 0, 0.5 * (ordered[low] + ordered[high]), 0.0)
  mean = jnp.sum(jnp.where(pairs, distances, 0.0)) / jnp.maximum(count, 1)
  # Written so that a distance that is not a number stays one.
  return width * jnp.where(median == 0, jnp.where(mean == 0, 1.0, mean), median)


def gaussian(values: Array, mask: Array, width: Scalar, rule: str) -> Array:
  """The matrix of a Gaussian kernel, zero in masked rows and columns.

  Formula: exp(-||a_i - a_j||^2 / (2 s^2)), s as of `width_of`; 1 on the diagonal.

  Args:
    values: [n, ...] examples.
    mask: [n] bool.
    width: > 0.
    rule: one of `RULES`.

  Returns:
    [n, n] float32.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import gaussian
    >>> k = gaussian(jnp.array([[0.0], [1.0]]), jnp.ones(2, bool), 1.0, "fixed")
    >>> round(float(k[0, 1]), 6)  # exp(-1/2)
    0.606531
  """
  flat = rows(values, mask)
  scaled = flat / width_of(flat, mask, width, rule)
  matrix = gram.gaussian(scaled, scaled)
  return _masked(jnp.where(jnp.eye(len(flat), dtype=bool), 1.0, matrix), mask)


def of_target(y: Array, mask: Array, width: Scalar, rule: str) -> Array:
  """The kernel's matrix of what is to be predicted: linear on one-hot labels, Gaussian on targets.

  Args:
    y: [n] integer labels or [n, t] float targets.
    mask: [n] bool.
    width: > 0, of targets.
    rule: one of `RULES`, of targets.

  Returns:
    [n, n] float32: for labels 1 where they are equal, else 0.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import of_target
    >>> of_target(jnp.array([0, 1, 0]), jnp.ones(3, bool), 1.0, "fixed")[0].tolist()
    [1.0, 0.0, 1.0]
  """
  if jnp.issubdtype(y.dtype, jnp.integer):
    return _masked(gram.same(y, y), mask)
  return gaussian(y, mask, width, rule)


def dependence(form: str, k: Array, l: Array, mask: Array, epsilon: Scalar) -> Array:  # noqa: E741
  """HSIC of two kernels' matrices, or one of its normalised forms.

  Formula: with K', L' centred over the m rows that count: "hsic" tr(K' L') / (m - 1)^2; "cka"
  tr(K' L') / sqrt(tr(K' K') tr(L' L')); "nhsic" tr(A B), A = K' (K' + epsilon m I)^-1, B of L'.

  Args:
    form: one of `FORMS`.
    k: [n, n], as `gaussian` gives it.
    l: [n, n].
    mask: [n] bool.
    epsilon: of "nhsic", > 0.

  Returns:
    Scalar, without a unit: of "hsic" in [0, 1/4] for kernels in [0, 1], of "cka" in [0, 1], of
    "nhsic" in [0, m - 1).

  Raises:
    InputError: matrices or a mask that do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import dependence, of_target
    >>> mask = jnp.ones(4, bool)
    >>> k = of_target(jnp.array([0, 0, 1, 1]), mask, 1.0, "fixed")
    >>> round(float(dependence("cka", k, k, mask, 1e-5)), 6)
    1.0

  Source: Gretton et al. 2005, "Measuring statistical dependence with Hilbert-Schmidt norms",
  definition 2; Fukumizu et al. 2008 (the normalised operator); Kornblith et al. 2019
  (arXiv:1905.00414), eq. 4.
  """
  checks.shape("mask", mask, k.shape[:1])
  checks.shape("the second kernel's matrix", l, k.shape)
  k, l = _centred(k, mask), _centred(l, mask)  # noqa: E741
  if form == "nhsic":
    return jnp.sum(_shrunk(k, mask, epsilon) * _shrunk(l, mask, epsilon))
  product = jnp.sum(k * l)
  if form == "hsic":
    return product / jnp.square(jnp.maximum(_count(mask) - 1.0, 1.0))
  # The floor makes the ratio go to 0, not to a random number, where either collapses.
  floor = FLOOR * jnp.square(_count(mask))
  own = jnp.maximum(jnp.sum(k * k), floor) * jnp.maximum(jnp.sum(l * l), floor)
  return product / jnp.sqrt(own)


def cauchy_schwarz(k: Array, l: Array, mask: Array) -> Array:  # noqa: E741
  """Cauchy-Schwarz quadratic mutual information of two kernels' matrices.

  Formula: log mean_ij(K_ij L_ij) + log [mean_ij(K_ij) mean_ij(L_ij)] - 2 log mean_i(k_i l_i), with
  k_i = mean_j K_ij, the means over rows that count.

  Args:
    k: [n, n], as `gaussian` gives it.
    l: [n, n].
    mask: [n] bool.

  Returns:
    Scalar nats, 0 or more up to rounding; biased upwards by about 1/n.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import cauchy_schwarz, of_target
    >>> mask = jnp.ones(4, bool)
    >>> k = of_target(jnp.array([0, 0, 1, 1]), mask, 1.0, "fixed")
    >>> round(float(cauchy_schwarz(k, k, mask)), 6)  # log 2
    0.693147

  Source: Principe 2010, "Information theoretic learning", chapter 2; Yu et al. 2024
  (arXiv:2404.17951), the empirical estimator of CS-QMI.
  """
  n = _count(mask)
  near, other = jnp.sum(k, axis=1) / n, jnp.sum(l, axis=1) / n
  joint, cross = jnp.sum(k * l) / n**2, jnp.sum(near * other) / n
  product = (jnp.sum(near) / n) * (jnp.sum(other) / n)
  cross = jnp.where(cross == 0, 1.0, cross)  # of a batch that is all padding
  # Of ratios near one, so that small values keep their digits.
  nats = jnp.log1p((joint - cross) / cross) + jnp.log1p((product - cross) / cross)
  return jnp.where(jnp.any(mask), nats, 0.0)


def cauchy_schwarz_ratio(k: Array, l: Array, mask: Array) -> Array:  # noqa: E741
  """Cauchy-Schwarz quadratic mutual information over the geometric mean of the self-informations.

  Formula: I(x;z) / sqrt(I(x;x) I(z;z)), each I as of `cauchy_schwarz` and at least 1e-6.

  Args:
    k: [n, n], as `gaussian` gives it.
    l: [n, n].
    mask: [n] bool.

  Returns:
    Scalar; 1 for equal matrices, and 0 where either is constant. No cosine: it may exceed 1.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import cauchy_schwarz_ratio, of_target
    >>> mask = jnp.ones(4, bool)
    >>> k = of_target(jnp.array([0, 0, 1, 1]), mask, 1.0, "fixed")
    >>> round(float(cauchy_schwarz_ratio(k, k, mask)), 6)
    1.0
  """
  own = [jnp.maximum(cauchy_schwarz(one, one, mask), FLOOR) for one in (k, l)]
  return cauchy_schwarz(k, l, mask) / jnp.sqrt(own[0] * own[1])


def conditional_cauchy_schwarz(
  k: Array, y: Array, prediction: Array, width: Scalar, mask: Array
) -> Array:
  """Cauchy-Schwarz divergence of a predictor's conditional density from that of the data.

  Formula: with K on x, kernels of one width on targets and predictions, and
  s(a, b) = sum_j [sum_i K_ji exp(-||a_j - b_i||^2 / (2 width^2))] / [sum_i K_ji]^2,
  log s(y, y) + log s(p, p) - 2 log s(p, y).

  The logarithms are of sums of exponents, so that predictions far from their targets keep a
  finite value and gradient.

  Args:
    k: [n, n] of x, as `gaussian` gives it.
    y: [n, t] targets, in the units of the width.
    prediction: [n, t].
    width: of the kernels on targets and predictions, > 0.
    mask: [n] bool.

  Returns:
    Scalar nats, 0 where every prediction is its target.

  Raises:
    InputError: y or prediction not [n, t]. A vector would make every pair's distance the same.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.batch_kernels import conditional_cauchy_schwarz
    >>> y = jnp.zeros((1, 1))
    >>> float(conditional_cauchy_schwarz(jnp.ones((1, 1)), y, y + 2.0, 1.0, jnp.ones(1, bool)))
    4.0

  Source: Yu et al. 2024 (arXiv:2404.17951), the empirical estimator of the conditional divergence.
  """
  checks.shape("targets", y, (k.shape[0], "t"))
  checks.shape("prediction", prediction, (k.shape[0], "t"))
  checks.shape("prediction", prediction, y.shape)
  counted = mask[:, None]
  # One centre for both: their differences matter.
  centre = jnp.sum(jnp.where(counted, y, 0.0), axis=0) / _count(mask)
  y, prediction = (
    jnp.where(counted, at_least_float32(one) - centre, 0.0) / width for one in (y, prediction)
  )
  weights = k / jnp.square(jnp.where(mask, jnp.sum(k, axis=1), 1.0))[:, None]
  weights = jnp.where(jnp.any(mask), weights, 1.0)

  def log_sum(a, b):
    exponents = -0.5 * kernels.squared_distances(a, b)
    return jax.nn.logsumexp(exponents, b=weights)

  return log_sum(y, y) + log_sum(prediction, prediction) - 2.0 * log_sum(prediction, y)


def _count(mask: Array) -> Array:
  return jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)


def _masked(matrix: Array, mask: Array) -> Array:
  return jnp.where(mask[:, None] & mask, matrix, 0.0)


def _centred(matrix: Array, mask: Array) -> Array:
  mean = jnp.sum(matrix, axis=1) / _count(mask)
  return _masked(matrix - mean[:, None] - mean + jnp.sum(mean) / _count(mask), mask)


def _shrunk(centred: Array, mask: Array, epsilon: Scalar) -> Array:
  """K' (K' + e I)^-1 = I - e (K' + e I)^-1, e = epsilon m; zero in masked rows."""
  identity = jnp.eye(len(centred), dtype=centred.dtype)
  e = epsilon * _count(mask)
  return _masked(identity - e * _inverse(centred + e * identity), mask)


@jax.custom_jvp
def _inverse(matrix: Array) -> Array:
  """Inverse of a symmetric positive definite matrix."""
  factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
  return jax.scipy.linalg.cho_solve(factor, jnp.eye(len(matrix), dtype=matrix.dtype))


@_inverse.defjvp
def _inverse_slope(primals, tangents):
  # Two products: differentiating the decomposition takes twice the time.
  inverse = _inverse(*primals)
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
  return inverse, -product(product(inverse, tangents[0]), inverse)
