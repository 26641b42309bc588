"""Finite scalar quantisation: every channel of a vector is rounded to a few levels.

Source: Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made simple" (arXiv:2309.15505).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from ibjax.bottlenecks.codebooks import straight_through, used
from ibjax.bottlenecks.quantiser import layout
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Array, Bottleneck, Case, Code

# A little wider than the outermost levels, so that these are reached at finite features.
SLACK = 1e-3


def fsq(dim: int = 4, levels: int | tuple[int, ...] = 5, positions: int = 1) -> Bottleneck:
  """Rounds each channel to one of a few levels; there is no codebook and no loss beside.

  Formula: with L levels, h = (L - 1) (1 + 1e-3) / 2, o = 1/2 if L is even, else 0, and
  s = atanh(o / h): b = tanh(x + s) h - o, value round(b) / floor(L / 2), the gradient of b passing
  straight through the rounding. L = 2 gives -1 and 1, the sign (there s would be far out). The
  symbol of a vector is sum_i level_i prod_(k < i) L_k, level 0 the lowest.

  Use it when a codebook gives trouble: nothing is learned but the encoder, all symbols are near
  each other in a grid, and usage is high by itself. Levels (8, 5, 5, 5) are about 2^10 symbols,
  (8, 8, 8, 6, 5) about 2^14.

  Args:
    dim: width of the whole code, positions times channels.
    levels: of every channel, or one number for each channel of a position; >= 2.
    positions: of an example; each gives one symbol.

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim] in [-1, 1], rate [n] nats and
    bits [n], the exact positions * log2(prod levels), and in aux "indices" [n, positions] int32 and
    "alphabet" [n]. Metrics as of `vq`, where the alphabet has at most 2^16 symbols.

  Raises:
    InputError: fewer than two levels, levels for another number of channels, positions that do not
      divide dim, or more than 2^31 - 1 symbols.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.fsq import fsq
    >>> channel = fsq(dim=2, levels=(3, 2))
    >>> x = jnp.array([[9.0, -1.0], [0.1, 1.0]])
    >>> code, _ = channel.apply({}, channel.init(None)[1], x, key=jax.random.key(0), train=False)
    >>> code.value.tolist(), code.aux["indices"].tolist()
    ([[1.0, -1.0], [0.0, 1.0]], [[2], [4]])

  Source: Mentzer et al. 2023 (arXiv:2309.15505), section 3.1 and its listing; two levels as a sign
  are a choice made here.
  """
  cut = layout("fsq", dim, positions, 1)
  sizes = (levels,) * cut.width if isinstance(levels, int) else tuple(levels)
  for size in sizes:
    checks.at_least("a number of levels", size, 2)
  if len(sizes) != cut.width:
    raise InputError(
      f"fsq has levels for {len(sizes)} channels, {sizes}, and dim={dim} at {positions} positions "
      f"has {cut.width} channels each. Set dim={positions * len(sizes)}, or one number of levels."
    )
  symbols = math.prod(sizes)
  if symbols >= 2**31:
    raise InputError(
      f"fsq's levels make {symbols} symbols of a position, which int32 cannot number. Use fewer "
      "levels, or more positions of fewer channels."
    )
  shape = np.array([constants(size) for size in sizes], np.float32).T
  strides = np.cumprod((1, *sizes[:-1])).astype(np.int32)
  bits = positions * math.log2(symbols)

  def report(index: Array, weights: Array) -> dict[str, Array]:
    return {**used(index, symbols, weights), "code_bits": jnp.float32(bits)}

  def init(key):
    del key
    return {}, {"metrics": report(jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1)))}

  def apply(params, state, features, *, key, train, mask=None):
    checks.shape("features", features, (None, dim))
    x = cut.split(features.astype(jnp.float32))[0]
    half, offset, shift, back, step = shape
    bounded = jnp.tanh(x + shift) * half - offset
    rounded = straight_through(bounded, jnp.round(bounded))
    lowest = jnp.asarray(np.round(np.float32(-half - offset)), jnp.float32)
    level = jnp.nan_to_num(jnp.round(bounded) - lowest).astype(jnp.int32)
    index = jnp.sum(level * strides, axis=-1)[None]
    weights = cut.weights(x[None], mask)
    n = features.shape[0]
    stored = jnp.full(n, bits, jnp.float32)
    aux = {
      "indices": index.reshape(n, positions),
      "alphabet": jnp.full(n, symbols, jnp.int32),
    }
    value = ((rounded + back) / step).reshape(n, dim)
    return Code(value, stored * math.log(2.0), stored, aux), {"metrics": report(index, weights)}

  return Bottleneck(features=dim, init=init, apply=apply, masks=True)


def constants(levels: int) -> tuple[float, float, float, float, float]:
  """How a channel of so many levels is bounded and scaled.

  Args:
    levels: L, at least 2.

  Returns:
    (half, offset, shift, back, step): b = tanh(x + shift) half - offset is rounded, and the value
    is (round(b) + back) / step.

  Example:
    >>> from ibjax.bottlenecks.fsq import constants
    >>> constants(5)
    (2.002, 0.0, 0.0, 0.0, 2.0)
  """
  half = 0.5 * (levels - 1) * (1.0 + SLACK)
  if levels == 2:
    return half, 0.5, 0.0, 0.5, 0.5
  offset = 0.5 if levels % 2 == 0 else 0.0
  return half, offset, math.atanh(offset / half), 0.0, float(levels // 2)


CASES = (
  Case(
    name="five levels, evenly spaced",
    hyper=dict(dim=1, levels=5),
    inputs=lambda: dict(
      features=jnp.arctanh(jnp.array([[-1.9], [-1.0], [0.2], [0.9], [1.8]]) / 2.002)
    ),
    expected=dict(value=[[-1.0], [-0.5], [0.0], [0.5], [1.0]], bits=[math.log2(5)] * 5),
    source="by hand: the bound is undone, so that these are rounded to -2, -1, 0, 1, 2",
  ),
  Case(
    name="four levels: zero is one of them, and there is one more below",
    hyper=dict(dim=1, levels=4),
    inputs=lambda: dict(features=jnp.array([[-50.0], [0.0], [50.0]])),
    expected=dict(value=[[-1.0], [0.0], [0.5]], bits=[2.0] * 3),
    source="definition: s moves tanh so that a feature of 0 is a level",
  ),
)
