"""Mutual Choice sparse autoencoder: the largest matches of latents and examples in a batch.

Source: Ayonrinde 2024, "Adaptive sparse allocation with mutual choice and feature choice sparse
autoencoders" (arXiv:2411.02124), of which the abstract was read, and no code is known.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import batch_top_k, dictionary
from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def mutual_choice(
  dim: int = 512,
  latents: int = 4096,
  k: Scalar = 32.0,
  decay: Scalar = 0.99,
  zipf: Scalar = 1.0,
  shift: Scalar = 0.0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_zipf",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from the n k best matches of a batch, and revives latents that are rare.

  Formula: the activations are those of `ibjax.bottlenecks.sparse.batch_top_k`: the largest n k of
  [n, latents]. "aux_zipf" extends aux_k from the dead to the rare: to latents active less often
  than (rank + shift)^-zipf, normalised to the same total, expects at their rank.

  Use it as BatchTopK whose dictionary should be used by a law, and before `feature_choice`, whose
  parameters and state are the same: train this first, then start that from it
  (config.warm_start); its thresholds then start from this one.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: active latents per example on average; may be traced.
    decay: of the average threshold, as in `ibjax.bottlenecks.sparse.batch_top_k`.
    zipf: exponent of the law, >= 0; the paper's fitted constants are not known to us; may be
      traced.
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
    InputError: k above the number of latents, a batch too small for a budget of one latent,
      another keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.mutual_choice import mutual_choice
    >>> channel = mutual_choice(dim=4, latents=16, k=2.0)
    >>> params, state = channel.init(jax.random.key(0))
    >>> x = jax.random.normal(jax.random.key(1), (8, 4))
    >>> float(channel.apply(params, state, x, key=None, train=True)[0].aux["l0"].mean())
    2.0

  Source: arXiv:2411.02124, abstract; the law, its constants and the choice of rare latents are
  our reading.
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
    z, average = batch_top_k.chosen(jax.nn.relu(scores), own, k, decay, train)
    if train:
      density = decay * own["density"] + (1.0 - decay) * jnp.mean(z > 0, axis=0)
      own = {**average, "density": density}
    return dictionary.dense(params, z, scores, own)

  return dictionary.build(shared, activate, own=start(latents))


def start(latents: int) -> dict[str, Array]:
  """The state of one threshold per latent, which `feature_choice` takes over from here.

  Args:
    latents: size of the dictionary.

  Returns:
    {"total", "weight", "density"}, each [latents]: the quotient of the first two is theta, in
    Mutual Choice the same for all; the last the average share of examples that a latent takes.
  """
  return {name: jnp.zeros(latents) for name in ("total", "weight", "density")}


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
