"""Named random streams: a key is a function of (seed, name, numbers) and is never stored.

A run that resumes at step s needs no saved key: it derives the key of step s again. Naming
the streams keeps them independent of the order in which code happens to ask for them, so
adding a new use of randomness never changes an old one.
"""

from __future__ import annotations

import zlib

import jax

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
