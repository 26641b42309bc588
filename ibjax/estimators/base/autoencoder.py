"""A compression that is learnt: a perceptron in, a few numbers, a perceptron out."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Scalar
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import apply_mlp, init_mlp
from ibjax.estimators.base.splits import split

Array = jax.Array


def autoencode(
  x: Array,
  dim: int,
  key: Array,
  *,
  sizes: tuple[int, ...] = (128, 64),
  steps: int = 3000,
  batch_size: int = 256,
  learning_rate: Scalar = 1e-3,
  noise: Scalar = 0.1,
) -> tuple[Array, Array]:
  """Learns a code of x from which x can be rebuilt, and gives the code of every row.

  Formula: min E|decode(encode(x + noise e)) - x|, the absolute error; codes pass a sigmoid. It is
  fitted to four fifths of the rows and stopped by a tenth.

  Args:
    x: [n, d] float32; centred, and scaled as a whole, inside.
    dim: width of the code.
    key: a typed random key.
    sizes: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    steps: the most updates.
    batch_size: rows of a batch.
    learning_rate: Adam's; may be traced.
    noise: standard deviation of the noise on the input during the fit, in units of x's.

  Returns:
    (code [n, dim] in (0, 1), error): `error` is the mean absolute error of what is rebuilt, as a
    fraction of that of the column means.

  Raises:
    InputError: a dim below 1, a negative noise.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.estimators.base.autoencoder import autoencode
    >>> code, error = autoencode(jnp.ones((32, 4)).at[0].set(0.0), 1, jax.random.key(0), steps=1)
    >>> code.shape
    (32, 1)

  Source: Butakov et al. 2024 (arXiv:2305.08013): sigmoid codes, absolute error and input noise
    after their published code; the perceptrons are ours.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("noise", noise, 0.0)
  return _autoencode(
    x, key, learning_rate, noise, dim=dim, sizes=tuple(sizes), steps=steps, batch_size=batch_size
  )


@functools.partial(jax.jit, static_argnames=("dim", "sizes", "steps", "batch_size"))
def _autoencode(
  x: Array,
  key: Array,
  learning_rate: Scalar,
  noise: Scalar,
  *,
  dim: int,
  sizes: tuple[int, ...],
  steps: int,
  batch_size: int,
) -> tuple[Array, Array]:
  x = x - jnp.mean(x, axis=0)
  spread = jnp.sqrt(jnp.mean(jnp.square(x)))
  x = x / jnp.where(spread > 0.0, spread, 1.0)
  parts = split((x,), key, (0.8, 0.1))
  d = x.shape[1]
  params = {
    "encoder": init_mlp(rng.stream(key, "encoder"), (d, *sizes, dim)),
    "decoder": init_mlp(rng.stream(key, "decoder"), (dim, *sizes[::-1], d)),
  }

  def encode(params, x):
    return jax.nn.sigmoid(apply_mlp(params["encoder"], x, jax.nn.leaky_relu))

  def error(params, x, key, noise):
    given = x + noise * rng.normal(key, x.shape)
    return jnp.mean(
      jnp.abs(apply_mlp(params["decoder"], encode(params, given), jax.nn.leaky_relu) - x)
    )

  fitted = fit(
    lambda params, rows, key: error(params, rows[0], key, noise),
    params,
    parts.train,
    parts.validation,
    key=key,
    steps=steps,
    batch_size=batch_size,
    learning_rate=learning_rate,
    check=lambda params, rows, key: error(params, rows[0], key, 0.0),
  )
  base = jnp.mean(jnp.abs(x))
  rest = error(fitted.params, x, key, 0.0) / jnp.where(base > 0.0, base, 1.0)
  return encode(fitted.params, x), rest
