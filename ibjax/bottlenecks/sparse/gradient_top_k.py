"""Gradient-aware TopK (g-SAE): latents are chosen by what they do to the model's loss too.

Source: Olmo et al. 2025, "Features that make a difference: leveraging gradients for improved
dictionary learning" (arXiv:2411.10397), of which abstract and summaries were read, and no code.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary, selection, top_k
from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Scalar


def gradient_top_k(
  dim: int = 512,
  latents: int = 4096,
  k: int = 32,
  influence: Scalar = 1.0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs activations from the k latents that answer and matter most.

  Formula: features are (x, g), g the gradient of the model's loss by the activation x;
  a = (x - b_dec) W_enc' + b_enc; score = relu(a) (1 + influence |g W_dec'|); z = relu(a) at the k
  largest scores; value = z W_dec + b_dec. No gradient passes through g or the scores.

  Use it for activations stored together with the gradients of the loss of the model that they are
  of: each input [x, g] is [2 dim] wide, its target x. The source "readout:gradient:SOURCE" makes
  such from any source. The scale of g is the loss's (a mean over tokens makes it small), and
  influence is in units of one over it: divide g by its mean length first.

  Args:
    dim: width of the activations and of the code; the features are twice as wide.
    latents: size of the dictionary.
    k: active latents per example, at most `latents`.
    influence: weight of the gradient, >= 0; 0 is `ibjax.bottlenecks.sparse.top_k`; may be traced.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, 2 dim] in, the reconstruction [n, dim] out, rate None; aux
    "indices" and "activations" [n, k] in the order of the scores, "sparsity", "l0" and "revival"
    [n].

  Raises:
    InputError: k above the number of latents, another keyword out of range, or features of
      another width than 2 dim.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.gradient_top_k import gradient_top_k
    >>> channel = gradient_top_k(dim=4, latents=16, k=3)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 8)), key=None, train=False)
    >>> channel.features, code.value.shape
    (8, (2, 4))

  Source: Olmo et al. 2025 (arXiv:2411.10397), the score as a summary states it; that the two
  parts are added is our reading.
  """
  dictionary.check_k(k, latents)
  checks.at_least("influence", influence, 0.0)
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def activate(params, own, x, *, key, train, step):
    x, g = x[:, :dim], x[:, dim:]
    scores = jax.lax.stop_gradient(dictionary.project(params, x))
    effect = jnp.abs(g @ params["W_dec"].T)
    merit = jax.nn.relu(scores) * (1.0 + influence * effect)
    _, indices = selection.top_k(merit, k, mesh)
    return top_k.sparse(params, x, scores, None, indices, k, mesh, own)

  return dictionary.build(shared, activate, features=2 * dim)


CASES = (
  Case(
    name="the latent that answers less but matters more",
    hyper=dict(dim=2, latents=2, k=1, influence=1.0),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.eye(2),
        "b_enc": jnp.zeros(2),
        "W_dec": jnp.eye(2),
        "b_dec": jnp.zeros(2),
      },
      features=jnp.array([[3.0, 2.0, 0.0, -1.0]]),
    ),
    expected=dict(value=[[0.0, 2.0]]),
    source="by hand: a = (3, 2), scores 3 (1 + 0) and 2 (1 + 1)",
  ),
)
