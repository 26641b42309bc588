"""The unrestricted channel: the code is the features. The baseline of every bottleneck."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Code

Array = jax.Array


def identity(dim: int = 1024) -> Bottleneck:
  """Passes the features on unchanged.

  Formula: z = f(x). A deterministic real-valued code has no finite rate, so none is given.

  Args:
    dim: width of the features and of the code.

  Returns:
    A `Bottleneck`: features [n, dim] in, code [n, dim] out, rate None.

  Raises:
    InputError: a width below 1, or features of another width.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.identity import identity
    >>> channel = identity(dim=2)
    >>> code, _ = channel.apply({}, {}, jnp.ones((3, 2)), key=None, train=False)
    >>> code.value.shape, code.rate
    ((3, 2), None)

  Source: the deterministic baseline of Alemi et al. 2017 (arXiv:1612.00410), table 1.
  """
  checks.at_least("dim", dim, 1)

  def init(key):
    return {}, {}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, dim))
    value = features.astype(jnp.float32)
    return Code(value=value, rate=None, bits=None, aux={}), state

  return Bottleneck(features=dim, init=init, apply=apply)


CASES = (
  Case(
    name="unchanged",
    hyper=dict(dim=2),
    inputs=lambda: dict(features=jnp.array([[1.0, -2.0]])),
    expected=dict(value=[[1.0, -2.0]]),
    source="definition",
  ),
)
