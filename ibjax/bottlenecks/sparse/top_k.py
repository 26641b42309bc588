"""TopK sparse autoencoder: the k largest pre-activations of each input.

Source: Gao et al. 2024, "Scaling and evaluating sparse autoencoders" (arXiv:2406.04093).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ibjax.bottlenecks.sparse import dictionary, linear, selection
from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Bottleneck, Case, Scalar

Array = jax.Array


def top_k(
  dim: int = 512,
  latents: int = 4096,
  k: int = 32,
  keep: Scalar | None = None,
  used: Scalar | None = None,
  anneal_from: int = 0,
  anneal_steps: int = 0,
  tied: bool = True,
  center: str = "geometric_median",
  revival: str = "aux_k",
  dead_after: int = 1000,
  aux_k: int = 0,
  mesh: Any = None,
) -> Bottleneck:
  """Reconstructs features from the k latents that answer most.

  Formula: a = (x - b_dec) W_enc' + b_enc; z = relu(a) at the k largest of a, 0 elsewhere;
  value = z W_dec + b_dec. Of equal a the latent of the lower index is taken.

  Use it when the number of active latents should be given, not found by a penalty. Its backward
  pass touches the active latents alone (`ibjax.bottlenecks.sparse.linear`).

  The parameters are "W_enc" and "W_dec" [latents, dim], "b_enc" [latents] and "b_dec" [dim]. To
  spread the dictionary, place them on the mesh's model axis: config.sharding =
  (("bottleneck/(W_enc|W_dec|b_enc|idle)$", ("model",)), (".*", ())). Keep the decoder's rows at
  unit length by the optimiser `ibjax.programs.unit_rows_adam`.

  Args:
    dim: width of the features and of the code.
    latents: size of the dictionary.
    k: active latents per example, the most that are; at most `latents`.
    keep: of these k, how many are kept; may be traced, so that a population over it is one
      program. None keeps all.
    used: of the latents, how many are there, the first ones, at least k; may be traced, so that a
      population over the width is one program. None uses all.
    anneal_from: number of active latents at the first step; falls linearly to k. 0 starts at k.
    anneal_steps: over how many steps; each microbatch of config.train.accumulate is one.
    tied: start the encoder as the decoder's transpose.
    center: what b_dec starts as: "zeros", or of the first batch the "mean" or "geometric_median".
    revival: for dead latents: "aux_k" or "ghost" give the term "revival" to the objective,
      "resample" starts them anew every `dead_after` steps, "none".
    dead_after: steps without being active after which a latent is dead; each microbatch of
      config.train.accumulate is one, so that for the same number of updates it is as many times
      larger.
    aux_k: dead latents that an example uses in "aux_k"; 0 takes dim / 2.
    mesh: the device mesh, which the trainer sets where there are several devices.

  Returns:
    A `Bottleneck`: features [n, dim] in, the reconstruction [n, dim] out, rate None; aux "indices"
    [n, k] int32 and "activations" [n, k], "sparsity" [n] their sum, "l0" [n] and "revival" [n].

  Raises:
    InputError: k above the number of latents, another keyword out of range, latents that do not
      divide over the mesh, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.sparse.top_k import top_k
    >>> channel = top_k(dim=4, latents=16, k=3)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(params, state, jnp.ones((2, 4)), key=None, train=False)
    >>> code.value.shape, code.aux["indices"].shape
    ((2, 4), (2, 3))

  Source: Gao et al. 2024 (arXiv:2406.04093), section 2.3 and appendix A.2; annealing k as in the
  authors of dictionary_learning's trainers, here linear.
  """
  dictionary.check_k(k, latents)
  most = check_annealing(k, anneal_from, anneal_steps, latents)
  if keep is not None:
    checks.between("keep", keep, 0.0, float(k))
  if used is not None:
    checks.between("used", used, float(most), float(latents))
  shared = dictionary.Shared(dim, latents, tied, center, revival, dead_after, aux_k, mesh)

  def activate(params, own, x, *, key, train, step):
    scores = jax.lax.stop_gradient(dictionary.project(params, x))
    there = None if used is None else jnp.arange(latents) < used
    if there is not None:
      scores = jnp.where(there, scores, -jnp.inf)
    size = most if train else k
    values, indices = selection.top_k(scores, size, mesh)
    kept = annealed(k if keep is None else keep, anneal_from, anneal_steps, step if train else None)
    found = sparse(params, x, scores, values, indices, kept, mesh, own)
    if there is None:
      return found
    # What is not there is not dead either.
    return found._replace(fired=jnp.where(there, found.fired, 1.0), there=there)

  return dictionary.build(shared, activate)


def check_annealing(k: Any, anneal_from: int, anneal_steps: int, latents: int) -> Any:
  """Checks the keywords of an annealed k.

  Args:
    k: at the end.
    anneal_from: at the start; 0 for k.
    anneal_steps: over how many steps.
    latents: size of the dictionary.

  Returns:
    The most latents that are ever active.

  Raises:
    InputError: one of the two without the other, a negative one, or a start below k or above the
      number of latents.
  """
  checks.at_least("anneal_from", anneal_from, 0)
  checks.at_least("anneal_steps", anneal_steps, 0)
  if bool(anneal_from) != bool(anneal_steps):
    raise InputError(
      f"anneal_from={anneal_from} and anneal_steps={anneal_steps}: k is annealed from the one over "
      "the other. Set both, or leave both at 0."
    )
  if anneal_from:
    checks.between("anneal_from", anneal_from, k, latents)
  return max(k, anneal_from)


def annealed(k: Scalar, anneal_from: int, anneal_steps: int, step: Array | None) -> Scalar:
  """The number of active latents at a step.

  Args:
    k: at the end.
    anneal_from: at the start; 0 for k.
    anneal_steps: over how many steps; 0 for none.
    step: the number of updates done; None after training.

  Returns:
    A number, linear from `anneal_from` to k.

  Example:
    >>> from ibjax.bottlenecks.sparse.top_k import annealed
    >>> [float(annealed(2, 10, 4, step)) for step in (0, 1, 4, 9)], annealed(2, 10, 4, None)
    ([10.0, 8.0, 2.0, 2.0], 2)
  """
  if not (anneal_from and anneal_steps) or step is None:
    return k
  left = 1.0 - jnp.minimum(jnp.asarray(step, jnp.float32) / anneal_steps, 1.0)
  return k + left * (anneal_from - k)


def sparse(
  params: Any,
  x: Array,
  scores: Array,
  values: Array | None,
  indices: Array,
  kept: Scalar,
  mesh: Any,
  own: Any,
) -> dictionary.Activity:
  """The activity of latents that are held by their indices.

  Args:
    params: of a dictionary.
    x: [n, dim].
    scores: [n, latents] pre-activations.
    values: [n, k] those of the selected latents; None computes them.
    indices: [n, k] the selected latents, best first.
    kept: how many of them are active; may be traced.
    mesh: the device mesh; None for one device.
    own: the variant's new state.

  Returns:
    A `dictionary.Activity`.
  """
  given = linear.encode_at(
    values, indices, x - params["b_dec"], params["W_enc"], params["b_enc"], mesh
  )
  active = jnp.where(jnp.arange(indices.shape[1]) < kept, jax.nn.relu(given), 0.0)
  still = jax.lax.stop_gradient(active)
  return dictionary.Activity(
    value=linear.decode_at(active, indices, params["W_dec"], mesh) + params["b_dec"],
    fired=linear.fired(still, indices, params["b_enc"].shape[0]),
    scores=scores,
    aux={
      "sparsity": jnp.sum(active, axis=-1),
      "l0": jnp.sum(still > 0, axis=-1, dtype=jnp.float32),
      "indices": indices,
      "activations": active,
    },
    state=own,
  )


def _params() -> dict[str, Array]:
  return {
    "W_enc": jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "b_enc": jnp.zeros(3),
    "W_dec": jnp.array([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]]),
    "b_dec": jnp.array([1.0, 1.0]),
  }


CASES = (
  Case(
    name="the two largest of three",
    hyper=dict(dim=2, latents=3, k=2),
    inputs=lambda: dict(params=_params(), features=jnp.array([[3.0, 2.0]])),
    expected=dict(value=[[1.0 + 2.0 + 1.5, 1.0 + 1.5]]),
    source="by hand: x - b = (2, 1), a = (2, 1, 3); latents 2 and 0 are active",
  ),
  Case(
    name="of equal answers the lower index",
    hyper=dict(dim=2, latents=3, k=1),
    inputs=lambda: dict(params=_params(), features=jnp.array([[2.0, 1.0]])),
    expected=dict(value=[[2.0, 1.0]]),
    source="by hand: x - b = (1, 0), a = (1, 0, 1)",
  ),
)
