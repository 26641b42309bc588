"""Three parts of the rows: one to fit on, one to choose by, one to report; and their scaling."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError

Array = jax.Array
TRANSFORMS = ("standardize", "ranks", "none")


class Split(NamedTuple):
  """Disjoint rows of each array.

  Attributes:
    train: what parameters are fitted to.
    validation: what decides when to stop.
    test: what is reported; nothing else may look at it.
  """

  train: tuple[Array, ...]
  validation: tuple[Array, ...]
  test: tuple[Array, ...]


def centre(array: Any) -> Array:
  """Brings an array to float32 without losing the digits of small spreads far from zero.

  Args:
    array: [n, d]; a float64 numpy array is centred and scaled before it is rounded, a traced one
      in its own precision.

  Returns:
    [n, d] float32; each column has mean 0, and standard deviation 1 unless it is constant.
  """
  lib = np if isinstance(array, np.ndarray) else jnp
  moved = array - lib.mean(array, axis=0)
  spread = lib.std(moved, axis=0)
  return jnp.asarray(moved / lib.where(spread > 0.0, spread, 1.0), jnp.float32)


def split(
  arrays: tuple[Array, ...], key: Array, fractions: tuple[float, float] = (0.5, 0.25)
) -> Split:
  """Cuts rows at random into training, validation and test parts.

  Args:
    arrays: each [n, ...], with rows that belong together.
    key: a typed random key.
    fractions: of the rows, for training and for validation; the rest is the test part.

  Returns:
    A `Split`; the sizes depend on n alone.

  Raises:
    InputError: fractions that leave a part empty.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.splits import split
    >>> parts = split((jnp.arange(8),), jax.random.key(0))
    >>> [part[0].shape[0] for part in parts]
    [4, 2, 2]
  """
  n = len(arrays[0])
  first = int(n * fractions[0])
  second = int(n * (fractions[0] + fractions[1]))
  if not 0 < first < second < n:
    raise InputError(
      f"fractions {fractions} cut {n} rows into {first}, {second - first} and {n - second}; each "
      "part needs at least one row. Give more samples or other fractions."
    )
  order = permutation(rng.stream(key, "split"), n)
  mixed = tuple(array[order] for array in arrays)
  return Split(
    tuple(array[:first] for array in mixed),
    tuple(array[first:second] for array in mixed),
    tuple(array[second:] for array in mixed),
  )


def permutation(key: Array, n: int) -> Array:
  """Draws an order of n rows.

  Args:
    key: a typed random key.
    n: how many.

  Returns:
    [n] int32.
  """
  return jnp.argsort(rng.uniform(key, (n,))).astype(jnp.int32)


def scale(parts: Split, transform: str | tuple[str, ...] = "standardize") -> Split:
  """Rescales every part by what the training part says, column by column.

  Formula: "standardize": (x - mean) / sd. "ranks" (normal scores): Phi^-1 of the training part's
  distribution function, linear between its order statistics and constant beyond them. Both are
  increasing in each column, so mutual information stays; "ranks" merges what lies beyond the
  training part's extremes, which can only lower it.

  Args:
    parts: a `Split` of [n, d] arrays.
    transform: "standardize", "ranks" (for heavy tails) or "none"; one for each array, or one.

  Returns:
    A `Split` of the same shapes, float32.

  Raises:
    InputError: another transform.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.splits import scale, split
    >>> x = jnp.exp(jnp.arange(16.0))[:, None]
    >>> train = scale(split((x,), jax.random.key(0)), "ranks").train[0]
    >>> abs(float(train.mean())) < 1e-6
    True
  """
  each = (transform,) * len(parts.train) if isinstance(transform, str) else transform
  maps = []
  for train, transform in zip(parts.train, each):
    checks.one_of("transform", transform, TRANSFORMS)
    if transform == "standardize":
      spread = jnp.std(train, axis=0)
      maps.append(_affine(jnp.mean(train, axis=0), jnp.where(spread > 0.0, spread, 1.0)))
    elif transform == "ranks":
      maps.append(_scores(train))
    else:
      maps.append(jnp.asarray)
  return Split(*(tuple(f(array) for f, array in zip(maps, part)) for part in parts))


def _affine(mean: Array, spread: Array):
  return lambda array: (array - mean) / spread


def _scores(train: Array):
  n = len(train)
  ordered = jnp.sort(train, axis=0)
  level = jax.scipy.special.ndtri((jnp.arange(n, dtype=jnp.float32) + 0.5) / n)
  column = jax.vmap(lambda values, known: jnp.interp(values, known, level), (1, 1), 1)
  return lambda array: column(array, ordered)
