"""Feature Choice sparse autoencoder: each latent takes the examples that match it best.

Source: Ayonrinde 2024, "Adaptive sparse allocation with mutual choice and feature choice sparse
autoencoders" (arXiv:2411.02124), of which the abstract was read, and no code is known.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.bottlenecks.sparse.mutual_choice import start
from ibjax.bottlenecks.sparse.revival import zipf as zipf_law
from ibjax.bottlenecks.sparse.selection import threshold
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def feature_choice(
  dim: int = 512,
  latents: int = 128,
  k: Scalar = 32.0,
  decay: Scalar = 0.99,
  zipf: Scalar = 0.0,
  shift: Scalar = 0.0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "none",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from latents each of which is active for a number of examples.

  Formula: a = relu((x - b_dec) W_enc' + b_enc); in training z_j = a_j for the m_j examples of the
  largest a_j, and 0 elsewhere; sum_j m_j = n k, m_j = n k / latents for all (zipf 0), or prop. to
  (rank_j + shift)^-zipf, rank_j by how often latent j was active so far; at least 1, at most n,
  what that cuts off is spread over the others in proportion, and rounded (`budgets`). In
  evaluation z_j = a_j where a_j > theta_j, a moving average of the least a_j that was kept.

  Use it when no latent may die: each gets its examples. It chooses over a whole batch, so the
  batch must be large: n k of at least the number of latents. Train `mutual_choice` first and start
  from it (config.warm_start) where examples should choose too.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: active latents per example on average; may be traced.
    decay: of the averages of thresholds; their start is corrected for.
    zipf: exponent of the law of the m_j, >= 0; 0 for equal ones; may be traced.
    shift: of the rank, > -1; may be traced.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "latents"
    [n, latents], "sparsity", "l0" and "revival" [n].

  Raises:
    InputError: k above the number of latents, a batch that gives a latent less than one example,
      another keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.feature_choice import feature_choice
    >>> channel = feature_choice(dim=4, latents=16, k=2.0)
    >>> params, state = channel.init(jax.random.key(0))
    >>> x = jax.random.normal(jax.random.key(1), (32, 4))
    >>> code, _ = channel.apply(params, state, x, key=None, train=True)
    >>> (code.aux["latents"] > 0).sum(axis=0).tolist() == [4] * 16
    True

  Source: arXiv:2411.02124, abstract; the law's constants, the order by frequency and the
  thresholds of evaluation are our reading.
  """
  dictionary.check_k(k, latents)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  checks.at_least("zipf", zipf, 0.0)
  checks.at_least("shift", shift, -1.0, strict=True)
  shared = dictionary.Shared(
    dim, latents, tied, center, revival, dead_after, aux_k, mesh, (zipf, shift)
  )

  def activate(params, own, x, *, key, train, step):
    scores = dictionary.project(params, x)
    z = jax.nn.relu(scores)
    if not train:
      theta = own["total"] / jnp.maximum(own["weight"], 1e-12)
      return dictionary.dense(params, jnp.where(z > theta, z, 0.0), scores, own)
    n = x.shape[0]
    if checks.is_concrete(k) and n * float(k) < latents:
      raise InputError(
        f"feature_choice gives {n} examples with k={float(k):g} a budget of {n * float(k):g} "
        f"matches, fewer than the {latents} latents. Use a batch of at least "
        f"{-int(-latents // float(k))} examples, a larger k, or fewer latents."
      )
    shares = zipf_law(latents, zipf, shift)[jnp.argsort(jnp.argsort(-own["density"]))]
    budget = budgets(n, k, shares).astype(jnp.float32)
    kept = z >= threshold(z, budget[None], 0)
    least = jnp.min(jnp.where(kept, jax.lax.stop_gradient(z), jnp.inf), axis=0)
    active = jnp.where(kept, z, 0.0)
    # Where nothing answered, nothing is learned of the threshold.
    seen = jnp.isfinite(least)
    own = {
      "total": own["total"] + (1.0 - decay) * jnp.where(seen, least - own["total"], 0.0),
      "weight": own["weight"] + (1.0 - decay) * jnp.where(seen, 1.0 - own["weight"], 0.0),
      "density": decay * own["density"] + (1.0 - decay) * jnp.mean(kept, axis=0),
    }
    return dictionary.dense(params, active, scores, own)

  return dictionary.build(shared, activate, own=start(latents))


def budgets(n: int, k: Scalar, shares: Array) -> Array:
  """How many examples each latent may take.

  Formula: m_j = round(clip(c share_j, 1, n)), c such that sum_j m_j = round(n k); rounded down, and
  up for those of the largest remainders as long as the sum has room.

  Args:
    n: examples of the batch.
    k: active latents per example on average, such that n k is at least the number of latents; may
      be traced.
    shares: [latents], positive, with the sum 1.

  Returns:
    [latents] int32.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.feature_choice import budgets
    >>> budgets(4, 2.0, jnp.array([0.7, 0.2, 0.1])).tolist()  # 5.6 is cut to 4; 8 are to be given
    [4, 3, 1]
  """
  total = jnp.round(n * jnp.asarray(k, jnp.float32)).astype(jnp.int32)
  logs = jnp.log(jnp.maximum(shares, 1e-30))

  def clipped(log_c):
    return jnp.clip(jnp.exp(log_c + logs), 1.0, n)

  def halve(_, ends):
    low, high = ends
    middle = 0.5 * (low + high)
    fits = jnp.sum(clipped(middle)) <= total
    return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

  # Between all at 1 and all at n. 40 halvings leave less than float32 can tell apart.
  ends = (-jnp.max(logs), jnp.log(jnp.float32(n)) - jnp.min(logs))
  exact = clipped(jax.lax.fori_loop(0, 40, halve, ends)[0])
  down = jnp.floor(exact)
  order = jnp.argsort(jnp.where(down < n, down - exact, 1.0), stable=True)  # the full come last
  room = total - jnp.sum(down.astype(jnp.int32))
  up = jnp.zeros(shares.shape, jnp.int32).at[order].set(jnp.arange(shares.shape[0]) < room)
  return jnp.minimum(down.astype(jnp.int32) + up, n)


CASES = (
  Case(
    name="before the first step every positive answer is active",
    hyper=dict(dim=1, latents=2, k=1.0),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.array([[1.0], [2.0]]),
        "b_enc": jnp.zeros(2),
        "W_dec": jnp.array([[1.0], [1.0]]),
        "b_dec": jnp.zeros(1),
      },
      features=jnp.array([[1.0], [-1.0]]),
    ),
    expected=dict(value=[[3.0], [0.0]]),
    source="by hand: thetas are 0",
  ),
)
