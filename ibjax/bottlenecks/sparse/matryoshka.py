"""Matryoshka sparse autoencoder: nested dictionaries, each of which must reconstruct by itself.

Source: Bussmann et al. 2025, "Learning multi-level features with Matryoshka sparse autoencoders"
(arXiv:2503.17547).
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import batch_top_k, dictionary
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def matryoshka(
  dim: int = 512,
  latents: int = 4096,
  groups: tuple[int, ...] = (),
  k: Scalar = 32.0,
  decay: Scalar = 0.99,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from the latents of a batch's budget, and from each prefix of them.

  Formula: z as in `batch_top_k`, one budget over the whole dictionary; value_g = b_dec + the sum
  of z_j W_dec,j over the latents of the first g groups; value is the last; auxiliary = the sum of
  |x - value_g|^2 over the others.

  Use it when the first latents should be general and the later ones specific: a prefix that must
  reconstruct alone cannot leave a general feature to the more specific ones.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    groups: sizes of the groups, first to last, whose sum is `latents`; () halves the rest five
      times: 1/32, 1/32, 1/16, 1/8, 1/4 and 1/2 of the latents, where these are whole.
    k: active latents per example on average; may be traced.
    decay: of the average threshold, as in `ibjax.bottlenecks.sparse.batch_top_k`.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as, as in `ibjax.bottlenecks.sparse.top_k`.
    revival: for dead latents, as there.
    dead_after: steps without being active after which a latent is dead.
    aux_k: as there.
    mesh: as there.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "latents"
    [n, latents], "prefix_errors" [n, groups], the last of which is the whole dictionary's,
    "sparsity", "auxiliary", "l0" and "revival" [n].

  Raises:
    InputError: groups that do not sum to the number of latents, k above it, another keyword out
      of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.matryoshka import matryoshka
    >>> channel = matryoshka(dim=4, latents=16, groups=(4, 12), k=2.0)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> code.aux["prefix_errors"].shape
    (2, 2)

  Source: Bussmann et al. 2025 (arXiv:2503.17547), section 3; whole sizes fixed, not drawn anew for
  each batch; the errors' sum, equally weighted.
  """
  dictionary.check_k(k, latents)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  sizes = tuple(groups) or halves(latents)
  for size in sizes:
    checks.at_least("a group's size", size, 1)
  if sum(sizes) != latents:
    raise InputError(
      f"the groups {sizes} sum to {sum(sizes)}, and the dictionary has {latents} latents; every "
      "latent belongs to one group. Change groups, or latents."
    )
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def activate(params, own, x, *, key, train, step):
    scores = dictionary.project(params, x)
    z, own = batch_top_k.chosen(jax.nn.relu(scores), own, k, decay, train)
    ends = tuple(itertools.accumulate(sizes))
    parts = [z[:, a:b] @ params["W_dec"][a:b] for a, b in zip((0, *ends), ends)]
    values = [params["b_dec"] + part for part in itertools.accumulate(parts)]
    errors = jnp.stack([jnp.sum(jnp.square(x - value), axis=-1) for value in values], axis=-1)
    found = dictionary.dense(
      params, z, scores, own, auxiliary=jnp.sum(errors[:, :-1], axis=-1), prefix_errors=errors
    )
    return found._replace(value=values[-1])

  return dictionary.build(shared, activate, own=batch_top_k.start())


def halves(latents: int) -> tuple[int, ...]:
  """Sizes of groups that double, each as large as all before it; at most six.

  Args:
    latents: their sum.

  Returns:
    The sizes, first to last.

  Example:
    >>> from ibjax.bottlenecks.sparse.matryoshka import halves
    >>> halves(32), halves(6)
    ((1, 1, 2, 4, 8, 16), (3, 3))
  """
  sizes: list[int] = []
  while latents % 2 == 0 and len(sizes) < 5:
    latents //= 2
    sizes.append(latents)
  return (latents, *reversed(sizes))


CASES = (
  Case(
    name="the whole dictionary is the value",
    hyper=dict(dim=1, latents=2, groups=(1, 1), k=1.0),
    inputs=lambda: dict(
      params={
        "W_enc": jnp.array([[1.0], [2.0]]),
        "b_enc": jnp.zeros(2),
        "W_dec": jnp.array([[1.0], [0.5]]),
        "b_dec": jnp.zeros(1),
      },
      features=jnp.array([[1.0], [-1.0]]),
    ),
    expected=dict(value=[[2.0], [0.0]]),
    source="by hand: theta is 0 at first; 1 + 2 / 2",
  ),
)
