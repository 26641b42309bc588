"""A code with a small network above it that only the objective sees.

Source: Chen et al. 2020, "A simple framework for contrastive learning of visual representations"
(arXiv:2002.05709), section 4.2.
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.types import Bottleneck, Case, Code

Array = jax.Array


def projection(dim: int = 128, hidden: tuple[int, ...] = (128,), out: int = 64) -> Bottleneck:
  """Passes the features on, and gives the objective a projection of them to compare.

  Formula: z = f(x); projection = W_L relu(... relu(W_1 z + b_1) ...) + b_L. A deterministic
  real-valued code has no finite rate, so none is given.

  What makes views alike also throws away what does not help it; the network between takes that
  loss, and the code below it stays the better representation. The layers have no batch
  normalisation, so that a row's projection is its own.

  Args:
    dim: width of the features and of the code.
    hidden: widths of the projection's hidden layers; () makes it linear.
    out: width of the projection.

  Returns:
    A `Bottleneck`: features [n, dim] in, code [n, dim] out with "projection" [n, out] in aux,
    rate None.

  Raises:
    InputError: a width below 1, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.projection import projection
    >>> channel = projection(dim=4, out=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((3, 4)), key=None, train=True)
    >>> code.value.shape, code.aux["projection"].shape
    ((3, 4), (3, 2))

  Source: Chen et al. 2020 (arXiv:2002.05709), section 4.2; weights as He et al. 2015
  (arXiv:1502.01852).
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("out", out, 1)
  for width in hidden:
    checks.at_least("a layer's width", width, 1)

  def init(key):
    layers = []
    for i, (into, width) in enumerate(itertools.pairwise((dim, *hidden, out))):
      scale = math.sqrt((2.0 if i < len(hidden) else 1.0) / into)
      kernel = scale * jax.random.normal(rng.stream(key, "projection", i), (into, width))
      layers.append({"kernel": kernel, "bias": jnp.zeros(width)})
    return layers, {}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, dim))
    value = features.astype(jnp.float32)
    h = value
    for i, layer in enumerate(params):
      h = (jax.nn.relu(h) if i else h) @ layer["kernel"] + layer["bias"]
    return Code(value=value, rate=None, bits=None, aux={"projection": h}), state

  return Bottleneck(features=dim, init=init, apply=apply)


CASES = (
  Case(
    name="the code is unchanged",
    hyper=dict(dim=2),
    inputs=lambda: dict(features=jnp.array([[1.0, -2.0]])),
    expected=dict(value=[[1.0, -2.0]]),
    source="definition",
  ),
)
