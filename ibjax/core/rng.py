"""Named random streams: a key is a function of (seed, name, numbers) and is never stored.

A run that resumes at step s needs no saved key: it derives the key of step s again. Naming
the streams keeps them independent of the order in which code happens to ask for them, so
adding a new use of randomness never changes an old one.
"""

from __future__ import annotations

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def root_key(seed: int | Array) -> Array:
  """Returns the typed root key of a run; `seed` may be a traced integer scalar.

  Args:
    seed: `config.seed`.

  Returns:
    A typed key, a scalar.
  """
  return jax.random.key(seed)


def stream(root: Array, name: str, *numbers: int | Array) -> Array:
  """Derives the key of a named stream, at the given numbers (a step, an example, ...).

  Formula: fold_in(... fold_in(fold_in(root, crc32(name)), numbers[0]) ...).

  Args:
    root: a typed key, usually `root_key(config.seed)`.
    name: what the randomness is for: "init", "noise", "eval" ...
    *numbers: integers or integer scalars (traced ones too).

  Returns:
    A typed key.

  Example:
    >>> import jax
    >>> from ibjax.core import rng
    >>> a = rng.stream(rng.root_key(0), "noise", 3)
    >>> b = rng.stream(rng.root_key(0), "noise", 4)
    >>> bool((jax.random.key_data(a) == jax.random.key_data(b)).all())
    False
  """
  key = jax.random.fold_in(root, zlib.crc32(name.encode()))
  for number in numbers:
    key = jax.random.fold_in(key, number)
  return key


def normal(key: Array, shape: tuple[int, ...]) -> Array:
  """Draws standard normal numbers: those of `jax.random.normal`, bit for bit, sooner on a CPU.

  Formula: sqrt(2) erfinv(u), u uniform in (-1, 1) of 23 bits of threefry(key, position).

  XLA compiles JAX's threefry on a CPU as a loop of twenty small kernels, which costs most of a
  draw; here its rounds are written out, so that they fuse with what comes after.

  Args:
    key: a typed threefry key, a scalar.
    shape: of the result; fewer than 2^32 numbers.

  Returns:
    `shape` float32.

  Example:
    >>> import jax
    >>> from ibjax.core import rng
    >>> key = rng.stream(rng.root_key(0), "noise", 3)
    >>> bool((rng.normal(key, (5, 2)) == jax.random.normal(key, (5, 2))).all())
    True

  Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Threefry-2x32-20.
  """
  low = np.nextafter(np.float32(-1.0), np.float32(0.0))
  between = jnp.maximum(low, uniform(key, shape) * (np.float32(1.0) - low) + low)
  return np.float32(math.sqrt(2.0)) * jax.lax.erf_inv(between)


def uniform(key: Array, shape: tuple[int, ...]) -> Array:
  """Draws numbers in [0, 1): those of `jax.random.uniform`, see `normal`.

  Args:
    key: a typed threefry key, a scalar.
    shape: of the result; fewer than 2^32 numbers.

  Returns:
    `shape` float32, multiples of 2^-23.

  Example:
    >>> import jax
    >>> from ibjax.core import rng
    >>> key = rng.root_key(0)
    >>> bool((rng.uniform(key, (5, 2)) == jax.random.uniform(key, (5, 2))).all())
    True
  """
  fraction = jax.lax.shift_right_logical(_bits(key, shape), jnp.uint32(9))
  return jax.lax.bitcast_convert_type(fraction | jnp.uint32(0x3F800000), jnp.float32) - 1.0


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _bits(key: Array, shape: tuple[int, ...]) -> Array:
  """32 random bits for each position, as JAX's partitionable threefry draws them."""
  words = jax.random.key_data(key)
  keys = (words[0], words[1], words[0] ^ words[1] ^ jnp.uint32(0x1BD11BDA))
  position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
  x, y = keys[0] + jnp.zeros(shape, jnp.uint32), keys[1] + position
  for i in range(5):
    for rotation in _ROTATIONS[i % 2]:
      x = x + y
      y = (y << jnp.uint32(rotation)) | (y >> jnp.uint32(32 - rotation))
      y = x ^ y
    x = x + keys[(i + 1) % 3]
    y = y + keys[(i + 2) % 3] + jnp.uint32(i + 1)
  return x ^ y
