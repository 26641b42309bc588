"""Adam that leaves what got no gradient as it is: for tables of which a batch touches few rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ibjax.core import checks
from ibjax.core.types import Scalar


class LazyAdamState(NamedTuple):
  """Moments of each entry, and how many updates it had."""

  count: Any
  mean: Any
  square: Any
  updates: Any


def lazy_adam(
  learning_rate: Any = 1e-3, b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8
) -> optax.GradientTransformation:
  """Adam for each entry by itself, at the updates at which its gradient is not exactly zero.

  Formula: where g != 0: t <- t + 1, m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, and the step
  -lr m' / (sqrt(v') + eps), with m' = m / (1 - b1^t), v' = v / (1 - b2^t); where g = 0: nothing.

  Plain Adam goes on moving an entry by its momentum after the last batch that used it. In a table
  of values, of which each batch fetches a few, that would change values of other examples.

  Args:
    learning_rate: a number, or a function of the number of updates done.
    b1: decay of the average of gradients.
    b2: decay of the average of their squares.
    eps: added to the root of the latter.

  Returns:
    An optax transformation.

  Raises:
    InputError: a decay outside [0, 1).

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.lazy_adam import lazy_adam
    >>> adam = lazy_adam(0.1)
    >>> state = adam.init(jnp.zeros(2))
    >>> _, state = adam.update(jnp.array([1.0, 1.0]), state)
    >>> adam.update(jnp.array([1.0, 0.0]), state)[0].round(3).tolist()
    [-0.10000000149011612, 0.0]

  Source: Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1; updated by entry as the sparse forms of
  Adam in other libraries, with the count of each entry's own updates in the corrections of bias.
  """
  checks.between("b1", b1, 0.0, 1.0, open_high=True)
  checks.between("b2", b2, 0.0, 1.0, open_high=True)

  def init(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return LazyAdamState(jnp.int32(0), zeros, zeros, zeros)

  def update(grads, state, params=None):
    del params
    rate = learning_rate(state.count) if callable(learning_rate) else learning_rate

    def moment(decay, power):
      def one(g, m):
        return jnp.where(g != 0, decay * m + (1.0 - decay) * g**power, m)

      return one

    mean = jax.tree.map(moment(b1, 1), grads, state.mean)
    square = jax.tree.map(moment(b2, 2), grads, state.square)
    updates = jax.tree.map(lambda g, t: t + (g != 0), grads, state.updates)

    def step(g, m, v, t):
      t = jnp.maximum(t, 1.0)
      corrected = jnp.sqrt(v / (1.0 - b2**t)) + eps
      return jnp.where(g != 0, -rate * m / (1.0 - b1**t) / corrected, 0.0)

    steps = jax.tree.map(step, grads, mean, square, updates)
    return steps, LazyAdamState(state.count + 1, mean, square, updates)

  return optax.GradientTransformation(init, update)
