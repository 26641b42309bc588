"""Matching pursuit: latents are chosen one after another, each for what the others leave.

Source: Mallat and Zhang 1993, "Matching pursuits with time-frequency dictionaries" (IEEE Trans.
Signal Processing 41); as a sparse autoencoder, Costa et al. 2025 (arXiv:2506.03093).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary
from ibjax.bottlenecks.sparse.linear import fired
from ibjax.core import checks
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def matching_pursuit(
  dim: int = 512,
  latents: int = 4096,
  k: int = 32,
  keep: Scalar | None = None,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from k latents, chosen greedily by what is left to explain.

  Formula: r_0 = x - b_dec; j_t = argmax_j r_t . w_j, w_j = W_dec,j / |W_dec,j|;
  z_t = relu(r_t . w_{j_t}); r_{t+1} = r_t - z_t w_{j_t}; value = x - r_k. There is no encoder; a
  latent may be chosen again.

  Use it when features are conditional on others or correlated, where one linear encoder cannot
  separate them. It costs k products [n, dim] by [dim, latents]. Good reconstruction is no proof
  that the planted features are found.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: steps, the most latents that are active.
    keep: of these steps, how many are made; may be traced. None makes all.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there; the decoder is the encoder.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "indices"
    and "activations" [n, k] in the order of choice, "sparsity", "l0" and "revival" [n]. Activations
    are in units of the unit vectors w; a latent that was chosen twice is named twice, and counts
    once in l0.

  Raises:
    InputError: k above the number of latents, another keyword out of range, or features of
      another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.matching_pursuit import matching_pursuit
    >>> channel = matching_pursuit(dim=4, latents=16, k=3)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> sorted(params), code.aux["indices"].shape
    (['W_dec', 'b_dec'], (2, 3))

  Source: Mallat and Zhang 1993, eq. 15 to 17; Costa et al. 2025 (arXiv:2506.03093), by
  its abstract.
  """
  dictionary.check_k(k, latents)
  if keep is not None:
    checks.between("keep", keep, 0.0, float(k))
  shared = dictionary.Shared(dim, latents, True, center, revival, dead_after, aux_k, mesh)

  def start(key, params):
    return {"W_dec": params["W_dec"], "b_dec": params["b_dec"]}

  def read(params):
    return {**params, "W_enc": params["W_dec"], "b_enc": jnp.zeros(latents)}

  def activate(params, own, x, *, key, train, step):
    atoms = dictionary.unit(params["W_dec"])
    still = jax.lax.stop_gradient

    def choose(left, t):
      scores = still(left) @ still(atoms).T
      at = jnp.argmax(scores, axis=-1)
      chosen = atoms[at]
      z = jax.nn.relu(jnp.sum(left * chosen, axis=-1))
      z = z if keep is None else jnp.where(t < keep, z, 0.0)
      return left - z[:, None] * chosen, (at.astype(jnp.int32), z)

    left, (indices, active) = jax.lax.scan(choose, x - params["b_dec"], jnp.arange(k))
    indices, active = indices.T, active.T
    positive = still(active) > 0
    # A latent that is chosen twice is one that is active.
    before = jnp.arange(k)[None, :] < jnp.arange(k)[:, None]
    twin = (indices[:, :, None] == indices[:, None, :]) & before & positive[:, None, :]
    distinct = (positive & ~jnp.any(twin, axis=-1)).astype(jnp.float32)
    return dictionary.Activity(
      value=x - left,
      fired=fired(distinct, indices, latents),
      scores=still((x - params["b_dec"]) @ params["W_dec"].T),
      aux={
        "sparsity": jnp.sum(active, axis=-1),
        "l0": jnp.sum(distinct, axis=-1),
        "indices": indices,
        "activations": active,
      },
      state=own,
    )

  return dictionary.build(shared, activate, start=start, read=read)


CASES = (
  Case(
    name="the second latent explains what the first leaves",
    hyper=dict(dim=2, latents=3, k=2),
    inputs=lambda: dict(
      params={"W_dec": jnp.array([[2.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), "b_dec": jnp.zeros(2)},
      features=jnp.array([[3.0, 1.0]]),
    ),
    expected=dict(value=[[3.0, 1.0]]),
    source="by hand: projections 3, 1 and 2.6; then (0, 1), of which 1 is the largest",
  ),
)
