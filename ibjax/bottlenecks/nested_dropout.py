"""Nested Dropout: channels in the order of their importance.

Source: Rippel, Gelbart and Adams 2014, "Learning ordered representations with nested dropout"
(arXiv:1402.0915); with the half-Gaussian lengths of Chen et al. 2021, "Boosting co-teaching with
compression regularization for label noise" (arXiv:2104.13766).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array


def nested_dropout(
  dim: int = 64, concepts: int = 0, center: Scalar = 0.0, spread: Scalar = 16.0
) -> Bottleneck:
  """Keeps the first channels of a code and drops the rest, a random number of them a batch.

  Formula: k ~ p(k) proportional to exp(-((k - center) / spread)^2) on 1..concepts (without a
  half in the exponent); z = (f_1, ..., f_m, 0, ..., 0), m = ceil(k dim / concepts). One k is
  drawn for a mini-batch. In evaluation all channels pass. What is kept is not rescaled.

  With a linear encoder and decoder, squared error and any p(k) > 0 the channels become the
  principal directions in order. Choose the width of a trained code on validation data by
  `ibjax.evaluators.nested_widths`.

  Args:
    dim: width of the code.
    concepts: number of ordered blocks of channels, at most dim; 0 makes every channel one.
    center: of p(k), in concepts; may be traced.
    spread: of p(k), > 0, in concepts; may be traced. Concepts beyond a few times the spread are
      almost never used.

  Returns:
    A `Bottleneck`: features [n, dim] in, code [n, dim] out, rate None; aux "width" [n], the
    number of channels that were kept.

  Raises:
    InputError: more concepts of order than dimensions, a size out of range, or features of
      another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.nested_dropout import nested_dropout
    >>> channel = nested_dropout(dim=4, spread=1e-3, center=2.0)
    >>> code, _ = channel.apply({}, {}, jnp.ones((1, 4)), key=jax.random.key(0), train=True)
    >>> code.value.tolist()
    [[1.0, 1.0, 0.0, 0.0]]

  Source: Rippel et al. 2014 (arXiv:1402.0915), the definition; p(k) of Chen et al. 2021
  (arXiv:2104.13766), as their published code draws it.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("concepts", concepts, 0)
  checks.at_least("spread", spread, 0.0, strict=True)
  if concepts > dim:
    raise InputError(
      f"nested_dropout has {concepts} concepts of order and {dim} dimensions; a concept needs a "
      f"dimension of its own. Use concepts of at most {dim}, or a wider code."
    )
  levels = concepts or dim

  def init(key):
    del key
    return {}, {}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, dim))
    features = features.astype(jnp.float32)
    kept = jnp.int32(dim)
    if train:
      logits = -jnp.square((jnp.arange(1, levels + 1) - center) / spread)
      k = 1 + jax.random.categorical(rng.stream(key, "concepts"), logits)
      kept = kept_width(k, dim, levels)
    value = jnp.where(jnp.arange(dim) < kept, features, 0.0)
    width = jnp.broadcast_to(kept.astype(jnp.float32), features.shape[:1])
    return Code(value=value, rate=None, bits=None, aux={"width": width}), state

  return Bottleneck(features=dim, init=init, apply=apply)


def kept_width(k: int | Array, dim: int, levels: int) -> int | Array:
  """Returns how many channels the first k concepts have.

  Formula: ceil(k dim / levels).

  Args:
    k: a number of concepts, 1..levels.
    dim: width of the code.
    levels: number of concepts.

  Returns:
    A number of channels, 1..dim.

  Example:
    >>> from ibjax.bottlenecks.nested_dropout import kept_width
    >>> [kept_width(k, 5, 2) for k in (1, 2)]
    [3, 5]
  """
  return -(-k * dim // levels)


CASES = (
  Case(
    name="all channels pass in evaluation",
    hyper=dict(dim=2),
    inputs=lambda: dict(features=jnp.array([[1.0, -2.0]])),
    expected=dict(value=[[1.0, -2.0]]),
    source="definition",
  ),
)
