"""The sparse autoencoder of rectified latents and an L1 penalty.

Source: Bricken et al. 2023, "Towards monosemanticity: decomposing language models with dictionary
learning" (transformer-circuits.pub); Cunningham et al. 2023 (arXiv:2309.08600).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.core.types import Bottleneck, Case


def relu_l1(
  dim: int = 512,
  latents: int = 4096,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "none",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from rectified latents, and gives their L1 norm as a penalty.

  Formula: z = relu((x - b_dec) W_enc' + b_enc); value = z W_dec + b_dec;
  sparsity = sum_j z_j |W_dec,j|.

  Use it as the baseline. The objective's beta prices "sparsity": how many latents are active
  follows from it, and all activations come out too small (shrinkage).

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
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
    InputError: a keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.relu_l1 import relu_l1
    >>> channel = relu_l1(dim=4, latents=16)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> code.value.shape, code.aux["latents"].shape
    ((2, 4), (2, 16))

  Source: Bricken et al. 2023; the penalty weighted by the decoder's lengths, as the authors'
  update of April 2024 has it (as recalled), which needs no constraint on them.
  """
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def activate(params, own, x, *, key, train, step):
    scores = dictionary.project(params, x)
    z = jax.nn.relu(scores)
    return dictionary.dense(params, z, scores, own, sparsity=dictionary.weighted_l1(params, z))

  return dictionary.build(shared, activate)


CASES = (
  Case(
    name="one latent answers, one does not",
    hyper=dict(dim=1, latents=2),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.array([[1.0], [-1.0]]),
        "b_enc": jnp.array([0.5, 0.5]),
        "W_dec": jnp.array([[2.0], [7.0]]),
        "b_dec": jnp.array([1.0]),
      },
      features=jnp.array([[3.0]]),
    ),
    expected=dict(value=[[6.0]]),
    source="by hand: relu(3 - 1 + 1/2) 2 + 1",
  ),
)
