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
  round: Array
  since: Array  # checks since the best one
  params: Tree
  optimizer: Tree
  state: Tree
  best: Array
  best_round: Array
  best_params: Tree
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
  adam = optax.adam(learning_rate)
  if clip_norm is not None:
    adam = optax.chain(optax.clip_by_global_norm(clip_norm), adam)

  def value(params: Tree, batch: Tree, key: Array, state: Tree) -> Any:
    return loss(params, batch, key, state) if stateful else (loss(params, batch, key), state)

  def validate(params: Tree, state: Tree, round_: Any) -> Array:
    own = rng.stream(key, "check", round_)
    if check is None:
      found = value(params, validation, own, state)[0]
    else:
      found = check(params, validation, own, *((state,) if stateful else ()))
    return jnp.where(jnp.isfinite(found), found, jnp.inf).astype(jnp.float32)

  def update(carry, step):
    params, optimizer, state, order = carry[0], carry[1], carry[2], carry[3]
    rows = jax.lax.dynamic_slice_in_dim(order, (step % check_every) * batch_size, batch_size)
    batch = jax.tree.map(lambda a: a[rows], train)
    grads, state = jax.grad(value, has_aux=True)(
      params, batch, rng.stream(key, "step", step), state
    )
    updates, optimizer = adam.update(grads, optimizer, params)
    return (optax.apply_updates(params, updates), optimizer, state, order), None

  def advance(carry: _Carry) -> _Carry:
    order = _order(rng.stream(key, "order", carry.round), n, batch_size, check_every)
    steps_now = carry.round * check_every + jnp.arange(check_every)
    start = (carry.params, carry.optimizer, carry.state, order)
    (params, optimizer, state, _), _ = jax.lax.scan(update, start, steps_now)
    found = validate(params, state, carry.round + 1)
    better = found < carry.best

    def keep(new, old):
      return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

    return _Carry(
      round=carry.round + 1,
      since=jnp.where(better, 0, carry.since + 1),
      params=params,
      optimizer=optimizer,
      state=state,
      best=jnp.minimum(found, carry.best),
      best_round=jnp.where(better, carry.round + 1, carry.best_round),
      best_params=keep(params, carry.best_params),
      best_state=keep(state, carry.best_state),
      history=carry.history.at[carry.round + 1].set(found),
    )

  params = jax.tree.map(jnp.asarray, params)
  state = jax.tree.map(jnp.asarray, state)
  first = validate(params, state, 0)
  zero = jnp.int32(0)
  history = jnp.full(rounds + 1, jnp.nan, jnp.float32).at[0].set(first)
  end = jax.lax.while_loop(
    lambda carry: (carry.round < rounds) & (carry.since < patience),
    advance,
    _Carry(zero, zero, params, adam.init(params), state, first, zero, params, state, history),
  )
  return Fitted(
    params=end.best_params,
    state=end.best_state,
    best_step=end.best_round * check_every,
    steps=end.round * check_every,
    history=end.history,
  )


def _order(key: Array, n: int, batch_size: int, batches: int) -> Array:
  """[batches * batch_size] rows: one order after another, each without its ragged end."""
  whole = n // batch_size * batch_size
  epochs = -(-batches * batch_size // whole)
  orders = [permutation(rng.stream(key, "epoch", i), n)[:whole] for i in range(epochs)]
  return jnp.concatenate(orders)[: batches * batch_size]
