"""Residual vector quantisation: each codebook quantises what the ones before leave.

Source: Zeghidour et al. 2021, "SoundStream: an end-to-end neural audio codec" (arXiv:2107.03312).
"""

from __future__ import annotations

import jax.numpy as jnp

from ibjax.bottlenecks.quantiser import layout, quantiser
from ibjax.core.types import Bottleneck, Case, Scalar


def residual_vq(
  dim: int = 64,
  codes: int = 256,
  depth: int = 4,
  positions: int = 1,
  heads: int = 1,
  learn: str = "ema",
  decay: Scalar = 0.99,
  gradient: str = "rotation",
  start: str = "kmeans",
  restarts: int = 4,
  expire_below: Scalar = 0.1,
  dropout: Scalar = 0.0,
) -> Bottleneck:
  """Quantises a vector, then what is left of it, and so on: depth codebooks refine one code.

  Formula: r_0 = x; q_i = nearest code of codebook i to r_(i-1); r_i = r_(i-1) - sg(q_i); value
  sum_i q_i. depth codebooks of k codes reach k^depth points with depth k vectors. With `dropout` a
  batch keeps, by that probability, only the first 1..depth layers, drawn evenly: a code that may
  be cut short, and whose rate may be chosen afterwards. `heads` > 1 is the grouped form: each part
  of a vector has its own chain.

  Use it where one codebook would have to be too large: at 20 bits a vector, say.

  Args:
    dim: width of the whole code, positions * heads * d.
    codes: vectors in each codebook, >= 2.
    depth: codebooks one after another.
    positions: of an example; they share the codebooks.
    heads: parts of a vector, each with its own chain of codebooks.
    learn: "ema" or "loss", as in `vq`.
    decay: of moving counts and sums, in [0, 1).
    gradient: "rotation" or "straight_through", of the sum.
    start: "kmeans", each codebook on what the ones before leave of the first batch, or "normal".
    restarts: of k-means.
    expire_below: of an even share, in [0, 1); 0 lets codes lie dead.
    dropout: probability that a batch of training is cut short, in [0, 1].

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim], bits [n], positions * heads *
    log2(codes) times the layers kept, rate [n] log(2) as many nats, and in aux "indices" [n,
    positions * heads * depth] int32, the layers of a vector together, -1 of a layer that was cut,
    and the rest as `vq` gives it, summed over the layers.

  Raises:
    InputError: heads and positions that do not divide dim, a setting out of range, fewer vectors
      in a batch than codes to start.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.residual_vq import residual_vq
    >>> channel = residual_vq(dim=1, codes=2, depth=2)
    >>> _, state = channel.init(jax.random.key(0))
    >>> x = jnp.array([[0.0], [1.0], [8.0], [9.0]])  # 0.5 and 8.5, then half a step either way
    >>> _, state = channel.settle({}, state, x, jax.random.key(1))
    >>> code, _ = channel.apply({}, state, x, key=jax.random.key(2), train=False)
    >>> code.value.ravel().tolist(), code.bits.tolist()
    ([0.0, 1.0, 8.0, 9.0], [2.0, 2.0, 2.0, 2.0])

  Source: Zeghidour et al. 2021 (arXiv:2107.03312), section III-C, algorithm 1 and the quantiser
  dropout; the groups of Yang et al. 2023 (arXiv:2305.02765), section 3.1.
  """
  cut = layout("residual_vq", dim, positions, heads)
  return quantiser(
    "residual_vq",
    cut,
    codes,
    depth,
    learn,
    decay,
    gradient,
    "euclidean",
    start,
    restarts,
    expire_below,
    dropout,
  )


CASES = (
  Case(
    name="tens, then ones",
    hyper=dict(dim=1, codes=3, depth=2, learn="loss", start="normal"),
    inputs=lambda: dict(
      params={"codebook": jnp.array([[[[0.0], [10.0], [20.0]]], [[[-1.0], [0.0], [1.0]]]])},
      features=jnp.array([[10.7], [19.2], [0.1]]),
    ),
    expected=dict(value=[[11.0], [19.0], [0.0]], bits=[2 * 1.584962500721156] * 3),
    source="by hand: 10 + 1, 20 - 1 and 0 + 0, each of two symbols of log2 3 bits",
  ),
)
