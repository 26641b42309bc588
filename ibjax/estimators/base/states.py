"""Counting equal rows of integers by hashing them, so that any number of columns costs one sort."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


@jax.jit
def entropy(codes: Array) -> tuple[Array, Array]:
  """Plug-in entropy of the rows.

  Rows are told apart by 64 bits of hash: two different ones of n fall together with a probability
  of about n^2 / 2^65.

  Args:
    codes: [n, d] int32, of any size and sign.

  Returns:
    (nats, alone): the entropy, and the share of rows that equal no other.
  """
  n, d = codes.shape
  order = jax.lax.sort(tuple(_hash(codes, d, seed) for seed in range(2)), num_keys=2)
  new = functools.reduce(jnp.logical_or, (jnp.diff(one) != 0 for one in order))
  state = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(new, dtype=jnp.int32)])
  counts = jnp.zeros(n, jnp.float32).at[state].add(1.0)
  nats = jnp.log(jnp.float32(n)) - jnp.sum(counts * jnp.log(jnp.maximum(counts, 1.0))) / n
  return nats, jnp.sum(counts == 1) / n


@jax.jit
def information(x: Array, y: Array) -> tuple[Array, Array]:
  """Plug-in mutual information of rows of integers, H(X) + H(Y) - H(X,Y).

  Args:
    x: [n, d] int32.
    y: [n, e] int32.

  Returns:
    (nats, alone): the information, and the share of rows of x that equal no other.
  """
  nats, alone = entropy(x)
  both, _ = entropy(jnp.concatenate([x, y], axis=1))
  return nats + entropy(y)[0] - both, alone


def _hash(codes: Array, d: int, seed: int) -> Array:
  """A sum over columns of well mixed 32-bit values, with constants of each column's own."""
  bits = np.random.default_rng(seed).integers(0, 2**32, size=(2, d), dtype=np.uint64)
  salt, factor = jnp.asarray(bits[0], jnp.uint32), jnp.asarray(bits[1] | 1, jnp.uint32)
  h = codes.astype(jnp.uint32) * factor + salt
  for shift, multiplier in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
    h = (h ^ (h >> shift)) * jnp.uint32(multiplier)
  return jnp.sum(h, axis=1, dtype=jnp.uint32)
