"""Vector quantisation: a code is the nearest of a learned codebook's vectors.

Source: van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning"
(arXiv:1711.00937).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.bottlenecks.quantiser import layout, quantiser
from ibjax.core.types import Bottleneck, Case, Scalar


def vq(
  dim: int = 64,
  codes: int = 512,
  positions: int = 1,
  heads: int = 1,
  shared: bool = False,
  learn: str = "ema",
  decay: Scalar = 0.99,
  gradient: str = "rotation",
  metric: str = "euclidean",
  start: str = "kmeans",
  restarts: int = 4,
  expire_below: Scalar = 0.1,
) -> Bottleneck:
  """Replaces each vector of the features by the nearest vector of a codebook.

  Formula: q = e_j, j = argmin_i |x - e_i|^2. By "ema" the codebook is a moving average of what it
  is nearest to: N_j <- decay N_j + (1 - decay) n_j, M_j likewise of sums, e_j = M_j / N_j. By
  "loss" it is trained by the term "codebook" |sg(x) - q|^2. The encoder needs the term "commitment"
  |x - sg(q)|^2: both are in aux, `ibjax.objectives.wrappers.quantised` adds them to any objective.

  The codebook starts by k-means++ on the first batch, with the counts and sums that belong to it.
  A code whose moving count falls below `expire_below` of an even share is dead: it is moved to a
  vector of the batch with a large error, and its count and sum with it. Together these keep all
  codes in use; a codebook that starts at random and lets codes lie ends with a few.

  The code has `bits` = positions heads log2(codes) stored bits. Its rate, log(2) as many nats, is
  what it costs by even odds, and so an upper bound on I(X;Z), whatever the encoder does. What an
  entropy coder makes of it, `ibjax.evaluators.code_usage` measures.

  Use it when the code is to be discrete, to be stored, sent, counted or modelled as symbols.

  Args:
    dim: width of the whole code, positions * heads * d.
    codes: vectors in each codebook, >= 2.
    positions: of an example, e.g. 49 of a 7 by 7 grid; they share the codebooks.
    heads: vectors at a position, each with its own code: a product codebook.
    shared: let the heads share one codebook.
    learn: "ema" or "loss".
    decay: of moving counts and sums, in [0, 1).
    gradient: "rotation" or "straight_through", see `ibjax.bottlenecks.codebooks`.
    metric: "euclidean", or "cosine": features and codes have length 1, also in the value.
    start: "kmeans" or "normal" (standard normal codes).
    restarts: of k-means, the best of which is taken.
    expire_below: of an even share, in [0, 1); 0 lets codes lie dead.

  Returns:
    A `Bottleneck`: features [n, dim] in; `Code` with value [n, dim], rate [n] nats, bits [n], and
    in aux "indices" [n, positions * heads] int32, position-major, "alphabet" [n] (codes),
    "commitment" [n], and by "loss" "codebook" [n], squared distances summed over positions and
    heads. Metrics of the batch: code_perplexity, code_usage_frac, dead_codes (in training those
    that were found dead and moved, else those that the batch did not use) and code_bits. Features
    that are not finite give a value that is not, and are left out of all statistics.

  Raises:
    InputError: heads and positions that do not divide dim, a setting out of range, fewer vectors
      in a batch than codes to start.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.vq import vq
    >>> channel = vq(dim=2, codes=2)
    >>> _, state = channel.init(jax.random.key(0))
    >>> x = jnp.array([[0.0, 1.0], [0.0, 1.0], [5.0, 0.0]])
    >>> _, state = channel.settle({}, state, x, jax.random.key(1))
    >>> code, _ = channel.apply({}, state, x, key=jax.random.key(2), train=False)
    >>> code.value.tolist(), code.bits.tolist()
    ([[0.0, 1.0], [0.0, 1.0], [5.0, 0.0]], [1.0, 1.0, 1.0])

  Source: van den Oord et al. 2017 (arXiv:1711.00937), eqs. 1 to 3 and appendix A.1; the rotation of
  Fifty et al. 2024 (arXiv:2410.06424). Counts in shares, the draw of revived codes by their errors
  and the absence of smoothing are choices made here.
  """
  cut = layout("vq", dim, positions, heads, shared)
  return quantiser(
    "vq", cut, codes, 1, learn, decay, gradient, metric, start, restarts, expire_below, 0.0
  )


CASES = (
  Case(
    name="the nearest of two codes, for one bit",
    hyper=dict(dim=2, codes=2, learn="loss", start="normal"),
    inputs=lambda: dict(
      params={"codebook": jnp.array([[[[0.0, 1.0], [3.0, 0.0]]]])},
      features=jnp.array([[0.0, 0.0], [2.0, 0.0]]),
    ),
    expected=dict(value=[[0.0, 1.0], [3.0, 0.0]], bits=[1.0, 1.0], rate=[math.log(2.0)] * 2),
    source="by hand",
  ),
  Case(
    name="two heads of one number each, with codebooks of their own",
    hyper=dict(dim=2, codes=4, heads=2, learn="loss", start="normal"),
    inputs=lambda: dict(
      params={
        "codebook": jnp.array([[[[0.0], [1.0], [2.0], [3.0]], [[0.0], [-1.0], [-2.0], [-3.0]]]])
      },
      features=jnp.array([[1.2, 1.2], [2.6, -2.6]]),
    ),
    expected=dict(value=[[1.0, 0.0], [3.0, -3.0]], bits=[4.0, 4.0]),
    source="by hand",
  ),
  Case(
    name="cosine: the direction alone counts, and is all that passes",
    hyper=dict(dim=2, codes=2, metric="cosine", learn="loss", start="normal"),
    inputs=lambda: dict(
      params={"codebook": jnp.array([[[[0.0, 1.0], [1.0, 0.0]]]])},
      features=jnp.array([[9.0, 1.0], [0.01, 0.02]]),
    ),
    expected=dict(value=[[1.0, 0.0], [0.0, 1.0]]),
    source="by hand",
  ),
)
