"""Matrices of a kernel between samples: built tile by tile, summed or multiplied, never kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Scalar
from ibjax.estimators.base import kernels, tiles

Array = jax.Array
Compare = Callable[[Array, Array], Array]
NAMES = ("gaussian", "laplacian", "linear")
NO_INTERVAL = "at independence its distribution is no normal one; use a permutation test"
CHECKED = 256  # rows on which a given kernel is checked


class Rows(NamedTuple):
  """Samples made ready for a kernel.

  Attributes:
    rows: [n, d] numbers in units of the kernel's width, or [n] labels.
    sigma: the width in the units of the samples; NaN where there is none.
  """

  rows: Array
  sigma: Array


def gaussian(a: Array, b: Array) -> Array:
  """The Gaussian kernel of rows in units of sigma: exp(-||a - b||^2 / 2).

  Args:
    a: [p, d].
    b: [q, d].

  Returns:
    [p, q].
  """
  return jnp.exp(-0.5 * kernels.squared_distances(a, b))


def laplacian(a: Array, b: Array) -> Array:
  """The Laplacian kernel of rows in units of sigma: exp(-||a - b||).

  Args:
    a: [p, d].
    b: [q, d].

  Returns:
    [p, q].
  """
  return jnp.exp(-jnp.sqrt(kernels.squared_distances(a, b)))


def linear(a: Array, b: Array) -> Array:
  """The linear kernel a.b.

  Args:
    a: [p, d].
    b: [q, d].

  Returns:
    [p, q].
  """
  return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def same(a: Array, b: Array) -> Array:
  """The kernel of labels: 1 where they are equal, else 0.

  Args:
    a: [p].
    b: [q].

  Returns:
    [p, q].
  """
  return (a[:, None] == b).astype(jnp.float32)


def choose(values: Any, kernel: str | Compare) -> Compare:
  """Picks the kernel of samples: that of labels for labels, else the one asked for.

  Args:
    values: [n, d] numbers or [n] labels.
    kernel: one of `NAMES`, or a function of two blocks of rows.

  Returns:
    `compare(a, b) -> [p, q]`, to be given the rows `prepare` makes.

  Raises:
    InputError: an unknown name; a function that is not symmetric or not positive semidefinite on
      the first rows.
  """
  if values.ndim == 1:
    return same
  if isinstance(kernel, str):
    checks.one_of("kernel", kernel, NAMES)
    return {"gaussian": gaussian, "laplacian": laplacian, "linear": linear}[kernel]
  if isinstance(values, np.ndarray):
    _check(kernel, jnp.asarray(values[:CHECKED], jnp.float32))
  return kernel


def prepare(values: Any, compare: Compare, sigma: Scalar | None) -> Rows:
  """Centres samples and brings them to the units of the kernel.

  Args:
    values: [n, d] numbers or [n] labels.
    compare: what `choose` gives.
    sigma: width of the kernel, a standard deviation; None takes the median distance.

  Returns:
    The `Rows`. A function of the user's gets the samples as they are.
  """
  if compare is same:
    return Rows(jnp.asarray(values, jnp.int32), jnp.float32(jnp.nan))
  if compare not in (gaussian, laplacian):
    centred = kernels.centre(values) if compare is linear else jnp.asarray(values, jnp.float32)
    return Rows(centred, jnp.float32(jnp.nan))
  centred = kernels.centre(values)
  width = _median(centred) if sigma is None else jnp.asarray(sigma, jnp.float32)
  return Rows(centred / width, width)


_median = jax.jit(kernels.median_distance)


def block(compare: Compare, a: Array, b: Array, i: Array, j: Array) -> Array:
  """One tile of the kernel's matrix, with zeros where a column is padding.

  Args:
    compare: the kernel.
    a: rows of the tile.
    b: columns of the tile.
    i: [p] which rows these are.
    j: [q] which columns these are; -1 marks padding.

  Returns:
    [p, q].
  """
  values = compare(a, b)
  if compare in (gaussian, laplacian):
    values = jnp.where(i[:, None] == j, 1.0, values)  # free of the rounding of distances
  return jnp.where(j >= 0, values, 0.0)


def multiply(
  compare: Compare | tuple[Compare, ...],
  rows: Any,
  v: Array,
  *,
  block_size: int,
  devices: int | None,
) -> Array:
  """Multiplies a kernel's matrix, or the entrywise product of several, with vectors.

  Args:
    compare: kernels.
    rows: for each kernel, its rows.
    v: [n, m].
    block_size: rows of a tile.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    [n, m].
  """
  compare, rows = (compare, rows) if isinstance(compare, tuple) else ((compare,), (rows,))

  def tile(total, own, other, i, j):
    others, values = other
    parts = (block(one, a, b, i, j) for one, a, b in zip(compare, own, others))
    gram = functools.reduce(jnp.multiply, parts)
    return total + jnp.matmul(gram, values, precision=jax.lax.Precision.HIGHEST)

  def start(size):
    return jnp.zeros((size, v.shape[1]))

  return tiles.fold_pairs(tile, start, rows, (rows, v), block_size=block_size, devices=devices)


class Means(NamedTuple):
  """Averages over j of the entries (i, j) of two kernels' matrices K and L, each [n].

  Attributes:
    k: of K.
    l: of L.
    kl: of K L, entry by entry.
    kk: of K K.
    ll: of L L.
    kkll: of K K L L.
  """

  k: Array
  l: Array  # noqa: E741
  kl: Array
  kk: Array
  ll: Array
  kkll: Array


@functools.partial(jax.jit, static_argnames=("compare", "block_size", "devices"))
def means(
  compare: tuple[Compare, Compare],
  x: Array,
  y: Array,
  *,
  block_size: int,
  devices: int | None,
) -> Means:
  """Averages each row of two kernels' matrices and of their products, in one pass.

  Args:
    compare: the kernels of x and of y.
    x: rows for the first.
    y: rows for the second.
    block_size: rows of a tile.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    The `Means`.
  """
  n = len(x)

  def tile(total, own, other, i, j):
    k, l = (block(c, a, b, i, j) for c, a, b in zip(compare, own, other))  # noqa: E741
    parts = (k, l, k * l, k * k, l * l, (k * l) ** 2)
    return tuple(t + jnp.sum(part, axis=1) for t, part in zip(total, parts))

  sums = tiles.fold_pairs(
    tile,
    lambda size: (jnp.zeros(size),) * 6,
    (x, y),
    (x, y),
    block_size=block_size,
    devices=devices,
  )
  return Means(*(one / n for one in sums))


def check_widths(*sigmas: Scalar | None) -> None:
  """Raises InputError for a width of a kernel that is not positive.

  Args:
    *sigmas: widths of x and y; None passes.
  """
  for name, sigma in zip(("sigma_x", "sigma_y"), sigmas):
    if sigma is not None:
      checks.at_least(name, sigma, 0.0, strict=True)


def invariances(
  kernel: str | Compare, sigma_x: Scalar | None, sigma_y: Scalar | None
) -> tuple[str, ...]:
  """What measures by kernels do not see.

  Args:
    kernel: as of `kernel.hsic`.
    sigma_x: as of `kernel.hsic`.
    sigma_y: as of `kernel.hsic`.

  Returns:
    Names of invariances.
  """
  found: tuple[str, ...] = ()
  if isinstance(kernel, str):
    found += ("translation",)
    if kernel != "linear" and sigma_x is None and sigma_y is None:
      found += ("scale",)
  # The median rule looks at some rows only, so that their order matters beyond 512.
  if not isinstance(kernel, str) or kernel == "linear" or None not in (sigma_x, sigma_y):
    found += ("rows",)
  return found + (("swap",) if sigma_x is sigma_y else ())


def centred_products(
  x: Any,
  y: Any,
  kernel: str | Compare,
  sigma_x: Scalar | None,
  sigma_y: Scalar | None,
  *,
  unbiased: bool,
  block_size: int,
  devices: int | None,
) -> tuple[tuple[Array, Array, Array], dict[str, Array]]:
  """HSIC of x with y, of x with itself and of y with itself, in two passes over tiles.

  Args:
    x: [n, d] numbers or [n] labels.
    y: the same.
    kernel: as of `kernel.hsic`.
    sigma_x: as of `kernel.hsic`.
    sigma_y: as of `kernel.hsic`.
    unbiased: which form.
    block_size: rows of a tile.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    ((xy, xx, yy), {"sigma_x", "sigma_y"}), scalars.
  """
  compare = (choose(x, kernel), choose(y, kernel))
  first, second = prepare(x, compare[0], sigma_x), prepare(y, compare[1], sigma_y)
  products = _centred_products(
    compare, first.rows, second.rows, unbiased=unbiased, block_size=block_size, devices=devices
  )
  return products, {"sigma_x": first.sigma, "sigma_y": second.sigma}


@functools.partial(jax.jit, static_argnames=("compare", "unbiased", "block_size", "devices"))
def _centred_products(compare, x, y, *, unbiased, block_size, devices):
  n = len(x)
  rows = (x, y)

  def entries(own, other, i, j):
    counted = (j >= 0) & (i[:, None] != j) if unbiased else j >= 0
    blocks = (block(c, a, b, i, j) for c, a, b in zip(compare, own, other))
    return counted, tuple(jnp.where(counted, one, 0.0) for one in blocks)

  def add(total, own, other, i, j):
    _, blocks = entries(own, other, i, j)
    return tuple(t + jnp.sum(one, axis=1) for t, one in zip(total, blocks))

  run = functools.partial(tiles.fold_pairs, block_size=block_size, devices=devices)
  sums = run(add, lambda size: (jnp.zeros(size),) * 2, rows, rows)
  per_row, per_pair = (n - 2, (n - 1) * (n - 2)) if unbiased else (n, n * n)
  # Half of the grand mean is put to each of a pair's two rows.
  offsets = tuple(one / per_row - 0.5 * jnp.sum(one) / per_pair for one in sums)

  def multiply(total, own, other, i, j):
    (data, mine), (others, theirs) = own, other
    counted, blocks = entries(data, others, i, j)
    a, b = (
      jnp.where(counted, one - mean_i[:, None] - mean_j, 0.0)
      for one, mean_i, mean_j in zip(blocks, mine, theirs)
    )
    return tuple(t + jnp.sum(part, axis=1) for t, part in zip(total, (a * b, a * a, b * b)))

  both = (rows, offsets)
  totals = run(multiply, lambda size: (jnp.zeros(size),) * 3, both, both)
  pairs = n * (n - 3) if unbiased else (n - 1) ** 2
  return tuple(jnp.sum(one / pairs) for one in totals)


def _check(kernel: Compare, rows: Array) -> None:
  """Raises InputError for a function that is no kernel on these rows."""
  m = len(rows)
  values = np.asarray(kernel(rows, rows), np.float64)
  if values.shape != (m, m) or not np.isfinite(values).all():
    raise InputError(
      f"the kernel gives {list(values.shape)} for two blocks of {m} rows, or values that are not "
      f"finite; expected finite [{m}, {m}]."
    )
  size = float(np.abs(values).max())
  skew = np.abs(values - values.T)
  if skew.max() > 1e-4 * size:
    i, j = np.unravel_index(skew.argmax(), skew.shape)
    raise InputError(
      f"the kernel is not symmetric: k(x{i}, x{j}) = {values[i, j]:g} and k(x{j}, x{i}) = "
      f"{values[j, i]:g}. Give a symmetric one, or (k(a, b) + k(b, a)) / 2."
    )
  least, *_, largest = np.linalg.eigvalsh(0.5 * (values + values.T))
  if least < -1e-4 * max(largest, -least):
    raise InputError(
      f"the kernel is not positive semidefinite: an eigenvalue of {m} rows is {least:g} (the "
      f"largest is {largest:g}). Distances are no kernel; exp(-distance) is one."
    )
