"""The unrestricted channel of a pair of networks: one code goes on, the other is compared."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Code

Array = jax.Array


def twin(dim: int = 64) -> Bottleneck:
  """Passes the first half of the features on, and hands the second half to the objective.

  Formula: (z, z') = f(x), both of width dim; the decoder reads z. Deterministic codes have no
  finite rate, so none is given; the pruned network's penalty is its encoder's.

  Args:
    dim: width of each code.

  Returns:
    A `Bottleneck`: features [n, 2 dim] in (`ibjax.models.twin_mlp`), code [n, dim] out, rate
    None; aux "twin" [n, dim].

  Raises:
    InputError: a width below 1, or features of another width.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.twin import twin
    >>> channel = twin(dim=1)
    >>> code, _ = channel.apply({}, {}, jnp.array([[1.0, 2.0]]), key=None, train=False)
    >>> code.value.tolist(), code.aux["twin"].tolist()
    ([[1.0]], [[2.0]])

  Source: Chang et al. 2023 (arXiv:2303.02846), the representations of the two networks.
  """
  checks.at_least("dim", dim, 1)

  def init(key):
    del key
    return {}, {}

  def apply(params, state, features, *, key, train):
    del key, train
    checks.shape("features", features, (None, 2 * dim))
    value, other = jnp.split(features.astype(jnp.float32), 2, axis=-1)
    return Code(value=value, rate=None, bits=None, aux={"twin": other}), state

  return Bottleneck(features=2 * dim, init=init, apply=apply)


CASES = (
  Case(
    name="the first half goes on",
    hyper=dict(dim=1),
    inputs=lambda: dict(features=jnp.array([[1.0, -2.0]])),
    expected=dict(value=[[1.0]]),
    source="definition",
  ),
)
