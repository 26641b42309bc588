"""Nearest neighbours and counts within a radius: trees on the host, or compiled tiles."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special
from scipy.spatial import cKDTree
from sklearn.neighbors import KDTree

from ibjax.core import checks
from ibjax.estimators.base.tiles import map_rows

Array = jax.Array
NORMS = ("max", "euclidean")
SEARCHES = ("auto", "tree", "tiles")
BLOCK_SIZE = 2048
LANES = 512
# Measured on two cores (docs/benchmarks.md): below, a program is not worth its compilation; a
# tree finds neighbours faster up to 12 columns, and counts faster up to 3 columns if many.
SMALL = 3000
TREE_COLUMNS = 12
COUNT_COLUMNS = 3
COUNT_ROWS = 30_000
MANY_TIES = 64


def check_search(search: str, k: int, block_size: int) -> None:
  """Raises InputError for options that no search has.

  Args:
    search: "auto", "tree" or "tiles".
    k: number of neighbours.
    block_size: root of the number of pairs held at once.

  Raises:
    InputError: an unknown search, k or a block size below 1.
  """
  checks.one_of("search", search, SEARCHES)
  checks.at_least("k", k, 1)
  checks.at_least("block_size", block_size, 1)


def nearest(
  points: Any,
  k: int,
  *,
  norm: str = "max",
  search: str = "auto",
  block_size: int = BLOCK_SIZE,
  devices: int | None = None,
) -> tuple[Any, Any]:
  """Finds the k nearest other rows of every row.

  "auto" takes SciPy's k-d tree, float64 on all cores, in low dimension on a host, and compiled
  tiles in high dimension and on accelerators; under `jax.jit` always tiles, in the dtype of
  `points`. Tiles hold `block_size`^2 pairs at once and run in float64 on a host, float32 on an
  accelerator (give centred points). Both are exact.

  Args:
    points: [n, d] numbers.
    k: how many, at most n - 1.
    norm: "max" or "euclidean".
    search: "auto", "tree" or "tiles".
    block_size: root of the number of pairs held at once by tiles.
    devices: over how many devices tiles are spread; None takes all, for a few rows one.

  Returns:
    (distance, index): [n, k] in rising order; of equal distances any may come first.
  """
  if isinstance(points, jax.core.Tracer):
    size = _rows_at_once(block_size, len(points))
    devices = _spread(devices, len(points))
    return _nearest_tiles(points, k=k, norm=norm, size=size, devices=devices)
  n, d = np.shape(points)
  if search == "auto":
    low = n < SMALL or (d <= TREE_COLUMNS and not _accelerated())
    search = "tree" if low else "tiles"
  if search == "tree":
    return _nearest_tree(np.ascontiguousarray(points, np.float64), k, norm)
  size, devices = _rows_at_once(block_size, n), _spread(devices, n)
  distance, index = _on_device(_nearest_tiles, points, k=k, norm=norm, size=size, devices=devices)
  return distance, index


def count_within(
  points: Any,
  radius: Any,
  *,
  strict: bool = True,
  search: str = "auto",
  block_size: int = BLOCK_SIZE,
  devices: int | None = None,
) -> Any:
  """Counts, in the max norm, the other rows nearer to each row than its own radius.

  One column is sorted. Else "auto" takes compiled tiles, and trees for few or many rows in low
  dimension; see `nearest`. Distances are differences of coordinates, rounded once, in all three:
  a row at exactly the radius is at exactly the radius.

  Args:
    points: [n, d] numbers.
    radius: [n] distances.
    strict: whether a row at exactly the radius is left out.
    search: "auto", "tree" or "tiles".
    block_size: root of the number of pairs held at once by tiles.
    devices: over how many devices tiles are spread; None takes all, for a few rows one.

  Returns:
    [n] integers.
  """
  if isinstance(points, jax.core.Tracer):
    size = _rows_at_once(block_size, len(points))
    devices = _spread(devices, len(points))
    return _count_tiles(points, radius, strict=strict, size=size, devices=devices)
  n, d = np.shape(points)
  radius = np.asarray(radius)
  if search == "auto":
    if d == 1:
      return _count_sorted(np.asarray(points)[:, 0], radius, strict)
    many = d <= COUNT_COLUMNS and n >= COUNT_ROWS and not _accelerated()
    search = "tree" if n < SMALL or many else "tiles"
  if search == "tree":
    reach = np.nextafter(radius, -1.0) if strict else radius
    inside = _count_tree(np.ascontiguousarray(points, np.float64), np.maximum(reach, 0.0))
    return np.where(reach >= 0, inside - 1, 0)
  size, devices = _rows_at_once(block_size, n), _spread(devices, n)
  return np.asarray(
    _on_device(_count_tiles, points, radius, strict=strict, size=size, devices=devices)
  )


def stack(*parts: Any) -> Any:
  """Puts columns side by side.

  Args:
    *parts: [n, d] arrays, of numpy or traced.

  Returns:
    [n, sum of d].
  """
  traced = isinstance(parts[0], jax.core.Tracer)
  return (jnp if traced else np).concatenate(parts, axis=1)


def digamma(values: Any) -> Any:
  """The digamma function, in float64 on the host and traced under `jax.jit`.

  Args:
    values: numbers above 0.

  Returns:
    psi(values), same shape.
  """
  if isinstance(values, jax.core.Tracer):
    return jax.scipy.special.digamma(values.astype(jnp.result_type(float)))
  return special.digamma(values)


def _accelerated() -> bool:
  return jax.default_backend() != "cpu"


def _rows_at_once(block_size: int, n: int) -> int:
  return max(1, min(n, block_size * block_size // n))


def _spread(devices: int | None, n: int) -> int | None:
  return 1 if devices is None and n < SMALL else devices


def _tree(points: Any) -> cKDTree:
  return cKDTree(np.ascontiguousarray(points, np.float64))


def _count_tree(points: np.ndarray, radius: np.ndarray) -> np.ndarray:
  """Rows within a radius: on one core scikit-learn's tree is three times faster than SciPy's."""
  if len(points) < COUNT_ROWS:
    return KDTree(points, metric="chebyshev").query_radius(points, radius, count_only=True)
  tree = _tree(points)
  return tree.query_ball_point(points, radius, p=np.inf, workers=-1, return_length=True)


def _on_device(program: Any, *arrays: Any, **static: Any) -> Any:
  """Runs a program in float64 on a host; an accelerator gets float32."""
  with jax.enable_x64(not _accelerated()):
    dtype = jnp.result_type(float)
    return jax.device_get(program(*(jnp.asarray(np.asarray(a), dtype) for a in arrays), **static))


def _nearest_tree(points: np.ndarray, k: int, norm: str) -> tuple[np.ndarray, np.ndarray]:
  """By SciPy's tree; of many equal rows, which it would search one by one, it is given k + 1."""
  n = len(points)
  kept = rest = np.arange(n)
  distance, index = np.zeros((n, k)), np.zeros((n, k), np.int64)
  if np.unique(points[:, 0], return_counts=True)[1].max() > MANY_TIES + k:
    rows = (points + 0.0).view(np.dtype((np.void, points.itemsize * points.shape[1])))[:, 0]
    _, group, sizes = np.unique(rows, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.empty(n, np.int64)
    place[order] = np.arange(n) - first[group[order]]
    tied = sizes[group] > k + 1
    rest, kept = np.flatnonzero(~tied), np.flatnonzero(~tied | (place <= k))
    # The next k of the same value, in a circle.
    after = (place[tied, None] + np.arange(1, k + 1)) % sizes[group[tied], None]
    index[tied] = order[first[group[tied], None] + after]
  if len(rest):
    found, where = _tree(points[kept]).query(
      points[rest], k=k + 1, p=np.inf if norm == "max" else 2, workers=-1
    )
    distance[rest], index[rest] = _without_self(found, kept[where], rest)
  return distance, index


def _without_self(
  distance: np.ndarray, index: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Drops the row itself; where more than k rows coincide and it is not listed, the first."""
  own = index == rows[:, None]
  own[~own.any(1), 0] = True
  n, k = index.shape
  return distance[~own].reshape(n, k - 1), index[~own].reshape(n, k - 1)


def _count_sorted(column: np.ndarray, radius: np.ndarray, strict: bool) -> np.ndarray:
  values, counts = np.unique(column, return_counts=True)
  before = np.concatenate([[0], np.cumsum(counts)])

  def inside(difference):
    return difference < radius if strict else difference <= radius

  # The sum is rounded, so the end of the range may be one value off: the difference decides.
  high = np.searchsorted(values, column + radius, side="right")
  low = np.searchsorted(values, column - radius, side="left")
  last = len(values) - 1
  for _ in range(2):
    high -= ~inside(np.abs(values[np.maximum(high - 1, 0)] - column)) & (high > 0)
    low += ~inside(np.abs(values[np.minimum(low, last)] - column)) & (low <= last)
  for _ in range(2):
    high += inside(np.abs(values[np.minimum(high, last)] - column)) & (high <= last)
    low -= inside(np.abs(values[np.maximum(low - 1, 0)] - column)) & (low > 0)
  return np.maximum(before[high] - before[low] - 1, 0)


def _distances(rows: Array, columns: Array, norm: str) -> Array:
  """Distances (squared if Euclidean) of [b, d] to [d, m]: [b, m], by differences, not products."""
  d = rows.shape[1]

  def add(total, chunk_rows, chunk_columns):
    for c in range(chunk_rows.shape[1]):
      difference = chunk_rows[:, c : c + 1] - chunk_columns[c]
      if norm == "max":
        difference = jnp.abs(difference)
        total = difference if total is None else jnp.maximum(total, difference)
      else:
        difference = difference * difference
        total = difference if total is None else total + difference
    return total

  chunk = 8
  if d <= 4 * chunk:
    return add(None, rows, columns)
  rest = d % chunk
  total = add(None, rows[:, d - rest :], columns[d - rest :]) if rest else None
  if total is None:
    total = jnp.zeros((rows.shape[0], columns.shape[1]), rows.dtype)
  chunks = (
    rows[:, : d - rest].reshape(len(rows), -1, chunk).swapaxes(0, 1),
    columns[: d - rest].reshape(-1, chunk, columns.shape[1]),
  )
  return jax.lax.scan(lambda t, pair: (add(t, *pair), None), total, chunks)[0]


@functools.partial(jax.jit, static_argnames=("k", "norm", "size", "devices"))
def _nearest_tiles(
  points: Array, *, k: int, norm: str, size: int, devices: int | None
) -> tuple[Array, Array]:
  """The k nearest lie in the k lanes (columns of equal remainder) with the nearest minima."""
  n, d = points.shape
  depth = -(-n // LANES)
  lanes = -(-n // depth)
  away = jnp.full((lanes * depth - n, d), jnp.inf, points.dtype)
  columns = jnp.concatenate([points, away]).T

  def block(rows, everything):
    own, index = rows
    b = len(own)
    distance = _distances(own, everything, norm)
    distance = jnp.where(jnp.arange(lanes * depth) == index[:, None], jnp.inf, distance)
    distance = distance.reshape(b, depth, lanes)
    # Lanes are chosen in float32, where top_k is fast; one more for each that may tie.
    take = min(lanes, 2 * k + 2)
    near = jax.lax.top_k(-jnp.min(distance, axis=1).astype(jnp.float32), take)[1]
    found = jnp.take_along_axis(distance, near[:, None, :], axis=2).reshape(b, -1)
    which = (jnp.arange(depth)[:, None] * lanes + near[:, None, :]).reshape(b, -1)
    some = jax.lax.top_k(-found.astype(jnp.float32), min(found.shape[1], 2 * k + 2))[1]
    found, which = (jnp.take_along_axis(a, some, axis=1) for a in (found, which))
    found, which = jax.lax.sort((found, which.astype(jnp.int32)), num_keys=1)
    found = found[:, :k]
    return (jnp.sqrt(found) if norm == "euclidean" else found), which[:, :k]

  rows = (points, jnp.arange(n))
  return map_rows(block, rows, size=size, devices=devices, shared=columns)


@functools.partial(jax.jit, static_argnames=("strict", "size", "devices"))
def _count_tiles(
  points: Array, radius: Array, *, strict: bool, size: int, devices: int | None
) -> Array:
  def block(rows, everything):
    own, reach = rows
    distance = _distances(own, everything, "max")
    inside = distance < reach[:, None] if strict else distance <= reach[:, None]
    return jnp.sum(inside, axis=1, dtype=jnp.int32)

  counts = map_rows(block, (points, radius), size=size, devices=devices, shared=points.T)
  return jnp.maximum(counts - 1, 0)
