"""A small decoder, trained for a moment, whose keys and values the tests look at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibjax.models.decoder import decoder

KEYWORDS = dict(layers=2, width=24, heads=4, kv_heads=2, head_dim=6, hidden=32, out=11)


@functools.cache
def tokens(seed=0, n=16, length=24):
  """[n, length] of a chain that looks two tokens back, and now and then anywhere."""
  rng = np.random.default_rng(seed)
  found = rng.integers(0, 11, (n, length))
  for t in range(2, length):
    follows = (found[:, t - 1] * 3 + found[:, t - 2]) % 11
    found[:, t] = np.where(rng.random(n) < 0.85, follows, found[:, t])
  return jnp.asarray(found)


def loss(params, keywords, batch):
  logits, _ = decoder(**keywords).apply(params, {}, batch[:, :-1], key=None, train=True)
  return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]))


@functools.cache
def trained():
  """The parameters after 120 steps; the loss has fallen well below that of the start."""
  params, _ = decoder(**KEYWORDS).init(jax.random.key(0), tokens()[:, :-1])
  chain = optax.adam(1e-2)
  batches = tokens(seed=1, n=512).reshape(16, 32, -1)

  @jax.jit
  def run(params):
    def body(carry, i):
      params, state = carry
      value, grads = jax.value_and_grad(loss)(params, KEYWORDS, batches[i % 16])
      updates, state = chain.update(grads, state)
      return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(body, (params, chain.init(params)), jnp.arange(120))
    return params, values

  params, values = run(params)
  assert values[-1] < values[0] - 0.7
  return params
