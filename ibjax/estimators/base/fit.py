"""Fitting in one compiled program: batches drawn inside, stopped by the validation part.

Nothing here looks at a test part. The parameters returned are those of the best validation check;
what is reported of them is to be computed once, on rows that neither fitting nor stopping saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from ibjax.core import checks, rng
from ibjax.core.types import Scalar
from ibjax.estimators.base.splits import permutation

Array = jax.Array
Tree = Any


class Fitted(NamedTuple):
  """What `fit` returns.

  Attributes:
    params: the parameters at the best validation check.
    state: the loss's own state at that check; () where it has none.
    best_step: int32 scalar, how many updates made these parameters.
    steps: int32 scalar, how many updates were made before it stopped.
    history: [1 + rounds] validation loss at the start and after every `check_every` updates; NaN
      for checks that stopping saved.
  """

  params: Tree
  state: Tree
  best_step: Array
  steps: Array
  history: Array


class _Carry(NamedTuple):
  round: Array  # checks made
  since: Array  # checks since the best one
  more: Array  # whether updates were made after the last check
  vector: Array
  mean: Array  # the moving average of the vector
  optimizer: Tree
  state: Tree
  best: Array
  best_round: Array
  best_vector: Array
  best_state: Tree
  history: Array


def fit(
  loss: Callable[..., Any],
  params: Tree,
  train: Tree,
  validation: Tree,
  *,
  key: Array,
  steps: int = 2000,
  batch_size: int = 256,
  learning_rate: Scalar = 1e-3,
  anneal: bool = False,
  average: Scalar = 0.0,
  weight_decay: Scalar = 0.0,
  check_every: int = 100,
  patience: int = 5,
  clip_norm: Scalar | None = None,
  check: Callable[..., Array] | None = None,
  state: Tree = (),
) -> Fitted:
  """Minimises a loss by Adam on random batches, and keeps what validates best.

  The whole run is one `while_loop`, so it may be traced, mapped over keys and over traced
  hyperparameters (learning rate, those of the loss); the rest is static. Batches are drawn
  without replacement: every epoch is a new order of the rows, cut into whole batches.

  Args:
    loss: `loss(params, batch, key) -> scalar`; where a `state` is given,
      `loss(params, batch, key, state) -> (scalar, state)`.
    params: tree of arrays to start from.
    train: tree of [n, ...] arrays, resident on the device.
    validation: tree of [m, ...] arrays.
    key: a typed random key.
    steps: the most updates made, rounded up to whole checks.
    batch_size: rows of a batch; all n where there are fewer.
    learning_rate: Adam's; may be traced.
    anneal: let the learning rate fall to zero along half a cosine of `steps` updates.
    average: what is checked and returned is the exponential moving average of the parameters
      with this decay per update (a shorter one at first); 0 for the parameters themselves.
    weight_decay: share of the parameters taken off per update, times the learning rate.
    check_every: updates between two looks at the validation part.
    patience: checks without a better one before it stops.
    clip_norm: the largest norm of a gradient; None leaves it.
    check: `check(params, validation, key)` (and `state`, where one is given) -> scalar, the
      smaller the better; None takes the loss of all validation rows as one batch. A value that
      is not finite is never the best.
    state: what the loss carries from batch to batch besides the parameters.

  Returns:
    A `Fitted`; the parameters given, where no check was better than the first.

  Raises:
    InputError: counts below 1.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.fit import fit
    >>> def loss(params, batch, key):
    ...   return jnp.mean(jnp.square(batch - params))
    >>> data = jnp.full(64, 2.0)
    >>> options = dict(key=jax.random.key(0), steps=200, batch_size=16, learning_rate=0.1)
    >>> fitted = fit(loss, jnp.float32(0.0), data, data, **options)
    >>> round(float(fitted.params), 1)
    2.0
  """
  for name, count in (
    ("steps", steps),
    ("batch_size", batch_size),
    ("check_every", check_every),
    ("patience", patience),
  ):
    checks.at_least(name, count, 1)
  stateful = bool(jax.tree.leaves(state))
  n = len(jax.tree.leaves(train)[0])
  batch_size = min(batch_size, n)
  rounds = -(-steps // check_every)
  adam = optax.adamw(learning_rate, weight_decay=weight_decay)
  if anneal:
    fall = optax.cosine_decay_schedule(1.0, rounds * check_every)
    adam = optax.chain(adam, optax.scale_by_schedule(fall))
  if clip_norm is not None:
    adam = optax.chain(optax.clip_by_global_norm(clip_norm), adam)

  # One vector of parameters: the optimiser is then a few kernels, whatever the network.
  flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
  state = jax.tree.map(jnp.asarray, state)

  def value(vector: Array, batch: Tree, key: Array, state: Tree) -> Any:
    params = unravel(vector)
    return loss(params, batch, key, state) if stateful else (loss(params, batch, key), state)

  def validate(vector: Array, state: Tree, round_: Array) -> Array:
    own = rng.stream(key, "check", round_)
    if check is None:
      found = value(vector, validation, own, state)[0]
    else:
      found = check(unravel(vector), validation, own, *((state,) if stateful else ()))
    return jnp.where(jnp.isfinite(found), found, jnp.inf).astype(jnp.float32)

  def advance(carry: _Carry) -> _Carry:
    """A look at the validation part, then updates until the next one is due."""
    found = validate(carry.mean, carry.state, carry.round)
    better = (found < carry.best) | (carry.round == 0)
    since = jnp.where(better, 0, carry.since + 1)
    more = (carry.round < rounds) & (since < patience)
    order = _order(rng.stream(key, "order", carry.round), n, batch_size, check_every)

    def update(i, now):
      vector, mean, optimizer, state = now
      step = carry.round * check_every + i
      rows = jax.lax.dynamic_slice_in_dim(order, i * batch_size, batch_size)
      batch = jax.tree.map(lambda a: a[rows], train)
      own = rng.stream(key, "step", step)
      slope, state = jax.grad(value, has_aux=True)(vector, batch, own, state)
      change, optimizer = adam.update(slope, optimizer, vector)
      vector = vector + change
      share = jnp.minimum(average, (1.0 + step) / (10.0 + step))
      return vector, vector + share * (mean - vector), optimizer, state

    start = (carry.vector, carry.mean, carry.optimizer, carry.state)
    vector, mean, optimizer, state = jax.lax.fori_loop(
      0, jnp.where(more, check_every, 0), update, start
    )
    return _Carry(
      round=carry.round + 1,
      since=since,
      more=more,
      vector=vector,
      mean=mean,
      optimizer=optimizer,
      state=state,
      best=jnp.where(better, found, carry.best),
      best_round=jnp.where(better, carry.round, carry.best_round),
      best_vector=jnp.where(better, carry.mean, carry.best_vector),
      best_state=jax.tree.map(
        lambda new, old: jnp.where(better, new, old), carry.state, carry.best_state
      ),
      history=carry.history.at[carry.round].set(found),
    )

  zero = jnp.int32(0)
  start = _Carry(
    round=zero,
    since=zero,
    more=jnp.bool_(True),
    vector=flat,
    mean=flat,
    optimizer=adam.init(flat),
    state=state,
    best=jnp.float32(jnp.inf),
    best_round=zero,
    best_vector=flat,
    best_state=state,
    history=jnp.full(rounds + 1, jnp.nan, jnp.float32),
  )
  end = jax.lax.while_loop(lambda carry: carry.more, advance, start)
  return Fitted(
    params=unravel(end.best_vector),
    state=end.best_state,
    best_step=end.best_round * check_every,
    steps=(end.round - 1) * check_every,
    history=end.history,
  )


def _order(key: Array, n: int, batch_size: int, batches: int) -> Array:
  """[batches * batch_size] rows: one order after another, each without its ragged end."""
  whole = n // batch_size * batch_size
  epochs = -(-batches * batch_size // whole)
  keys = jax.vmap(lambda epoch: rng.stream(key, "epoch", epoch))(jnp.arange(epochs))
  orders = jax.vmap(lambda own: permutation(own, n)[:whole])(keys)
  return orders.reshape(-1)[: batches * batch_size]
