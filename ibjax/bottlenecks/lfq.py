"""Lookup-free quantisation: a code is the signs of a vector, with entropies that keep all in use.

Source: Yu et al. 2023, "Language model beats diffusion: tokenizer is key to visual generation"
(arXiv:2310.05737); spherical: Zhao et al. 2024, "Image and video tokenization with binary spherical
quantization" (arXiv:2406.07548).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.codebooks import straight_through, unit, used
from ibjax.bottlenecks.quantiser import layout
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Array, Bottleneck, Case, Code, Scalar

MOST_BITS = 30  # of an int32 symbol


def lfq(
  dim: int = 10,
  positions: int = 1,
  heads: int = 1,
  scale: Scalar = 1.0,
  sharpness: Scalar = 100.0,
  spherical: bool = False,
  joint: int = 10,
) -> Bottleneck:
  """Takes the sign of each channel: an alphabet of 2^d symbols without a codebook.

  Formula: q_i = scale if x_i > 0, else -scale; straight through. In aux stand two entropies in
  nats, of p(c|x) proportional to exp(2 sharpness x c) over all 2^d codes c: "entropy", of each
  vector's p, which is to be small, and "diversity", of the batch's average p, which is to be large.
  p(c|x) is a product over channels, so that the first is exact at any d: sum_i h(sigmoid(4
  sharpness scale x_i)). The second needs the joint distribution: it is taken of at most `joint`
  channels at a time and added up, exact for d <= joint, an upper bound beyond.
  `ibjax.objectives.wrappers.quantised` adds both, and "commitment" |x - sg(q)|^2, to an objective.

  Spherical: x is scaled to length 1 first, and codes are the corners (+-1 / sqrt d); quantisation
  errors are bounded, and no commitment is needed.

  Use it for very large alphabets.

  Args:
    dim: width of the whole code, positions * heads * d.
    positions: of an example.
    heads: symbols at a position.
    scale: of the code's entries, > 0; unused if spherical.
    sharpness: of p, > 0; 100 makes it nearly the code itself.
    spherical: vectors and codes of length 1.
    joint: most channels whose joint distribution is looked at; costs 2^joint numbers a vector.

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim], bits [n] (exactly dim) and
    rate [n] log(2) as many nats, and in aux "indices" [n, positions * heads] int32, most
    significant bit first, "alphabet" [n], "commitment" [n] (summed over the vectors), "entropy" [n]
    (mean over the vectors) and "diversity" [n] (the same of all examples). Metrics as of `vq`,
    where the alphabet has at most 2^16 symbols.

  Raises:
    InputError: positions and heads that do not divide dim, more than 30 channels of a symbol, a
      setting out of range.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.lfq import lfq
    >>> channel, x = lfq(dim=2), jnp.array([[0.3, -2.0], [-1.0, 0.0]])
    >>> code, _ = channel.apply({}, channel.init(None)[1], x, key=jax.random.key(0), train=False)
    >>> code.value.tolist(), code.aux["indices"].tolist()
    ([[1.0, -1.0], [-1.0, -1.0]], [[2], [0]])

  Source: Yu et al. 2023 (arXiv:2310.05737), section 3.1, eqs. 3 to 5; Zhao et al. 2024
  (arXiv:2406.07548), section 3.2 and eq. 12 for the factors of the entropies.
  """
  checks.at_least("scale", scale, 0.0, strict=True)
  checks.at_least("sharpness", sharpness, 0.0, strict=True)
  checks.between("joint", joint, 1, 16)
  cut = layout("lfq", dim, positions, heads)
  if cut.width > MOST_BITS:
    raise InputError(
      f"lfq makes one symbol of {cut.width} channels, more than int32 numbers (at most "
      f"{MOST_BITS}). Use more heads: they have symbols of their own."
    )
  symbols = 2**cut.width
  size = 1.0 / math.sqrt(cut.width) if spherical else scale
  powers = 2 ** jnp.arange(cut.width - 1, -1, -1, dtype=jnp.int32)

  def report(index: Array, weights: Array) -> dict[str, Array]:
    return {**used(index, symbols, weights), "code_bits": jnp.float32(dim)}

  def init(key):
    del key
    return {}, {"metrics": report(jnp.zeros((heads, 1), jnp.int32), jnp.ones((heads, 1)))}

  def apply(params, state, features, *, key, train, mask=None):
    checks.shape("features", features, (None, dim))
    n = features.shape[0]
    x = cut.split(features.astype(jnp.float32))
    x = unit(x) if spherical else x
    q = jnp.where(x > 0, size, -size).astype(jnp.float32)
    index = jnp.sum((x > 0) * powers, axis=-1)
    weights = cut.weights(x, mask)
    # Of two codes that differ in one channel, by that channel: log odds 4 sharpness size x.
    odds = 4.0 * sharpness * size * x
    entropy, diversity = entropies(odds, weights, joint)
    commitment = jnp.sum(jnp.square(x - jax.lax.stop_gradient(q)), axis=-1)
    aux = {
      "indices": cut.per_example(index).reshape(n, -1),
      "alphabet": jnp.full(n, symbols, jnp.int32),
      "commitment": jnp.sum(cut.per_example(commitment), axis=(1, 2)),
      "entropy": jnp.mean(cut.per_example(entropy), axis=(1, 2)),
      "diversity": jnp.broadcast_to(jnp.mean(diversity), (n,)),
    }
    stored = jnp.full(n, dim, jnp.float32)
    value = cut.per_example(straight_through(x, q)).reshape(n, dim)
    return Code(value, stored * math.log(2.0), stored, aux), {"metrics": report(index, weights)}

  return Bottleneck(features=dim, init=init, apply=apply, masks=True)


def entropies(odds: Array, weights: Array, joint: int) -> tuple[Array, Array]:
  """Entropy of each vector's code, and of the batch's average, of independent channels.

  Args:
    odds: [groups, v, d], log odds of a positive channel.
    weights: [groups, v], 0 for a vector that does not count in the average.
    joint: most channels whose joint distribution is averaged.

  Returns:
    (entropy [groups, v], diversity [groups]) in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.lfq import entropies
    >>> odds = jnp.array([[[50.0], [-50.0]]])  # two vectors, each sure, of different signs
    >>> [x.round(4).tolist() for x in entropies(odds, jnp.ones((1, 2)), 10)]
    [[[0.0, 0.0]], [0.6930999755859375]]
  """
  # h(sigmoid(a)) = softplus(a) - a sigmoid(a), without the logarithm of a probability.
  each = jax.nn.softplus(odds) - odds * jax.nn.sigmoid(odds)
  positive = jax.nn.sigmoid(odds)
  total = jnp.maximum(jnp.sum(weights, axis=-1), 1.0)
  diversity = jnp.zeros(odds.shape[0])
  for first in range(0, odds.shape[-1], joint):
    p = jnp.ones((*weights.shape, 1))
    for i in range(first, min(first + joint, odds.shape[-1])):
      one = positive[..., i : i + 1]
      p = jnp.concatenate([p * (1.0 - one), p * one], axis=-1)
    p = jnp.where(weights[..., None] > 0, p, 0.0)
    mean = jnp.sum(p, axis=1) / total[:, None]
    diversity -= jnp.sum(mean * jnp.log(jnp.where(mean > 0, mean, 1.0)), axis=-1)
  return jnp.sum(each, axis=-1), diversity


CASES = (
  Case(
    name="signs, and zero is none",
    hyper=dict(dim=3, scale=0.5),
    inputs=lambda: dict(features=jnp.array([[2.0, -0.1, 0.0]])),
    expected=dict(value=[[0.5, -0.5, -0.5]], bits=[3.0], rate=[3.0 * math.log(2.0)]),
    source="definition",
  ),
  Case(
    name="spherical codes have length 1",
    hyper=dict(dim=4, spherical=True),
    inputs=lambda: dict(features=jnp.array([[2.0, -0.1, 3.0, 0.4]])),
    expected=dict(value=[[0.5, -0.5, 0.5, 0.5]]),
    source="definition: the corners (+-1/2)^4",
  ),
)
