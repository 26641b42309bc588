"""Gated sparse autoencoder: whether a latent is active and how much are decided apart.

Source: Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders"
(arXiv:2404.16014).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.core.types import Bottleneck, Case


def gated(
  dim: int = 512,
  latents: int = 4096,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from latents that a gate lets through, with magnitudes of their own.

  Formula: u = (x - b_dec) W_enc'; gate pi = u + b_enc; magnitude m = relu(exp(r_mag) u + b_mag);
  z = 1[pi > 0] m; value = z W_dec + b_dec; sparsity = |relu(pi)|_1; auxiliary =
  |x - relu(pi) W_dec - b_dec|^2 with the decoder held. The auxiliary error and the penalty train
  the gate, the reconstruction the rest; so the penalty does not shrink what is active.

  Use it in place of ReLU with L1. Keep the decoder's rows at unit length
  (`ibjax.programs.unit_rows_adam`), or the penalty is evaded by long ones.

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
    [n, latents], "sparsity", "auxiliary", "l0" and "revival" [n].

  Raises:
    InputError: a keyword out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.gated import gated
    >>> channel = gated(dim=4, latents=16)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> code.value.shape, code.aux["auxiliary"].shape
    ((2, 4), (2,))

  Source: Rajamanoharan et al. 2024 (arXiv:2404.16014), eq. 6 to 8.
  """
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def start(key, params):
    return {**params, "r_mag": jnp.zeros(latents), "b_mag": jnp.zeros(latents)}

  def activate(params, own, x, *, key, train, step):
    u = (x - params["b_dec"]) @ params["W_enc"].T
    gate = u + params["b_enc"]
    magnitude = jax.nn.relu(jnp.exp(params["r_mag"]) * u + params["b_mag"])
    z = jnp.where(gate > 0, magnitude, 0.0)
    opened = jax.nn.relu(gate)
    held = jax.lax.stop_gradient((params["W_dec"], params["b_dec"]))
    error = x - opened @ held[0] - held[1]
    return dictionary.dense(
      params,
      z,
      gate,
      own,
      sparsity=jnp.sum(opened, axis=-1),
      auxiliary=jnp.sum(jnp.square(error), axis=-1),
    )

  return dictionary.build(shared, activate, start=start)


CASES = (
  Case(
    name="one gate is open, the magnitude is its own",
    hyper=dict(dim=1, latents=2),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.array([[1.0], [1.0]]),
        "b_enc": jnp.array([0.0, -3.0]),
        "W_dec": jnp.array([[1.0], [7.0]]),
        "b_dec": jnp.array([1.0]),
        "r_mag": jnp.log(jnp.array([2.0, 1.0])),
        "b_mag": jnp.array([0.5, 0.0]),
      },
      features=jnp.array([[3.0]]),
    ),
    expected=dict(value=[[5.5]]),
    source="by hand: u = 2; gates 2 and -1; 2 u + 1/2 = 4.5, plus b_dec",
  ),
)
