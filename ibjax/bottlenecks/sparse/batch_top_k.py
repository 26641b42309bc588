"""BatchTopK sparse autoencoder: the k n largest pre-activations of a batch of n.

Source: Bussmann, Leask and Nanda 2024, "BatchTopK sparse autoencoders" (arXiv:2412.06410).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.bottlenecks.sparse.selection import threshold
from ibjax.bottlenecks.sparse.top_k import annealed, check_annealing
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def batch_top_k(
  dim: int = 512,
  latents: int = 4096,
  k: Scalar = 32.0,
  decay: Scalar = 0.99,
  anneal_from: int = 0,
  anneal_steps: int = 0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from k latents per example on average: the largest of the whole batch.

  Formula: a = relu((x - b_dec) W_enc' + b_enc); in training z = a where a is among the round(n k)
  largest of the batch, in evaluation where a > theta, and 0 elsewhere; theta is a moving average
  of the least a that was kept, so that an example's code does not depend on the others. Before the
  first step theta is 0. What equals the least that is kept is kept too.

  Use it when examples differ in how many latents they need. k may be a fraction, and may be
  traced: a population over it is one program.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: active latents per example on average, at most `latents`; may be traced.
    decay: of the average that theta is; its start is corrected for.
    anneal_from: k at the first step; falls linearly to k. 0 starts at k.
    anneal_steps: over how many steps, counted as in `ibjax.bottlenecks.sparse.top_k`.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "latents"
    [n, latents], "sparsity" their sum, "l0" and "revival" [n].

  Raises:
    InputError: k above the number of latents, a batch too small for a budget of one latent,
      another keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.batch_top_k import batch_top_k
    >>> channel = batch_top_k(dim=4, latents=16, k=1.5)
    >>> params, state = channel.init(jax.random.key(0))
    >>> x = jax.random.normal(jax.random.key(1), (8, 4))
    >>> code, _ = channel.apply(params, state, x, key=None, train=True)
    >>> float(code.aux["l0"].mean())
    1.5

  Source: Bussmann et al. 2024 (arXiv:2412.06410), section 2; the average of theta as in the
  trainers of dictionary_learning, there after 1000 steps and without correction.
  """
  dictionary.check_k(k, latents)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  check_annealing(k if checks.is_concrete(k) else 0, anneal_from, anneal_steps, latents)
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def activate(params, own, x, *, key, train, step):
    if train:
      check_budget(x.shape[0], k)  # at the end of annealing, which is not known while tracing
    scores = dictionary.project(params, x)
    now = annealed(k, anneal_from, anneal_steps, step if train else None)
    z, own = chosen(jax.nn.relu(scores), own, now, decay, train)
    return dictionary.dense(params, z, scores, own)

  return dictionary.build(shared, activate, own=start())


def start() -> dict[str, Array]:
  """The state of the average threshold at first.

  Returns:
    {"total", "weight"}, whose quotient is theta.
  """
  return {"total": jnp.float32(0.0), "weight": jnp.float32(0.0)}


def check_budget(n: int, k: Scalar) -> None:
  """Raises InputError unless a batch has a budget of one active latent at least.

  Args:
    n: examples of the batch.
    k: active latents per example on average; where it is traced, nothing can be said.

  Raises:
    InputError: n k below 1.
  """
  if checks.is_concrete(k) and n * float(k) < 1.0:
    raise InputError(
      f"a batch of {n} examples with k={float(k):g} has a budget of less than one active latent. "
      f"Use a batch of at least {math.ceil(1.0 / float(k))} examples, or a larger k."
    )


def chosen(
  z: Array,
  own: Any,
  k: Scalar,
  decay: Scalar,
  train: bool,
  choose: Callable[..., Array] = threshold,
) -> tuple[Array, Any]:
  """Keeps the activations that a batch's budget allows, or in evaluation those above theta.

  Args:
    z: [n, latents], none negative.
    own: the state of the average threshold, numbers or [latents].
    k: active latents per example on average; may be traced.
    decay: of the average.
    train: whether the budget decides.
    choose: the threshold of (z, budget, axes).

  Returns:
    (z with the others 0, new state).

  Raises:
    InputError: a batch whose budget is no whole latent.
  """
  if not train:
    theta = own["total"] / jnp.maximum(own["weight"], 1e-12)
    return jnp.where(z > theta, z, 0.0), own
  n = z.shape[0]
  check_budget(n, k)
  least = choose(z, jnp.maximum(jnp.round(n * jnp.asarray(k, jnp.float32)), 1.0), (0, 1))
  kept = z >= least
  smallest = jnp.min(jnp.where(kept, jax.lax.stop_gradient(z), jnp.inf))
  any_kept = jnp.isfinite(smallest)
  own = {
    "total": decay * own["total"] + (1.0 - decay) * jnp.where(any_kept, smallest, 0.0),
    "weight": decay * own["weight"] + (1.0 - decay),
  }
  return jnp.where(kept, z, 0.0), own


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
    source="by hand: theta is 0",
  ),
)
