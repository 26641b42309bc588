"""Multi-view information bottleneck: keep what two views share, without labels.

Source: Federici et al. 2020, "Learning robust representations via multi-view information
bottleneck" (ICLR, arXiv:2002.07017).
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.contrast import contrast_nats
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require, require_views

Array = jax.Array
LEAST_LOG_SCALE = -10.0  # two codes without noise are infinitely far apart
LAGRANGIAN = Lagrangian(form="rate", penalty="symmetrised KL of the views' codes")


def multi_view_ib(beta: Scalar = 1e-2) -> Objective:
  """Keeps the information that two views of an example share and drops what only one has.

  Formula: min E[-log q(y|z)] - I(Z_1;Z_2) + beta D, with
  D = E[KL(p(z_1|v_1) || p(z_2|v_2)) + KL(p(z_2|v_2) || p(z_1|v_1))] / 2, an upper bound on the
  average of I(V_1;Z_1|V_2) and I(V_2;Z_2|V_1), what each code has of its own view alone; nats, D
  summed over dimensions. I(Z_1;Z_2) is replaced by its InfoNCE lower bound log n - contrast with a
  learned critic phi(z_1)' M phi(z_2), phi(z) = (1, z, z^2): the best critic is of this form when
  the two codes are jointly Gaussian with diagonal blocks. More than two views are compared in
  all pairs. The term in q trains the decoder; with `config.train.probe` it moves nothing else.

  Use it when there are two views of the same thing and no labels, and what differs between the
  views does not matter.

  Assumption: InfoNCE in place of the paper's Jensen-Shannon estimator, so that the reported value
  is a lower bound on the information in nats (at most log n); one encoder for all views. In D a
  scale below exp(-10) counts as exp(-10).

  Args:
    beta: price of a nat of D, >= 0; may be traced. The paper raises it from 1e-4 to 1 or so in
      the course of the training (`beta_schedule`).

  Returns:
    An `Objective` that couples examples and needs two views, with losses distortion_nats [n],
    contrast_nats (a scalar, log n less the bound) and views_kl_nats [n], and the metrics
    i_views_lower_nats (average, nats) and i_yz_lower_nats.

  Raises:
    InputError: a negative beta, a single view, a code that is not Gaussian, predictions or targets
      that do not fit.

  Example:
    >>> from ibjax.objectives.structured.multi_view_ib import multi_view_ib
    >>> objective = multi_view_ib(beta=1e-2)

  Source: Federici et al. 2020 (arXiv:2002.07017), eq. 5: the multi-view loss with the
  symmetrised KL.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    params, state = init_distortion(spec)
    size = 1 + 2 * spec.code_dim
    linear = jnp.arange(size) * jnp.where(jnp.arange(size) <= spec.code_dim, 1, 0) > 0
    return {**params, "critic": jnp.diag(linear.astype(jnp.float32))}, state

  def loss(params, state, outputs, batch, key, step):
    views = require_views("multi_view_ib", outputs)
    parts = {"value": outputs.code.value}
    for name in ("mean", "log_scale"):
      parts[name] = require("multi_view_ib", outputs, name)
    parts["log_scale"] = jnp.maximum(parts["log_scale"], LEAST_LOG_SCALE)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, mean, scale = (part.reshape(views, -1, part.shape[-1]) for part in parts.values())
    mask = batch["mask"].reshape(views, -1)[0]
    pairs = list(itertools.combinations(range(views), 2))

    def kl(a, b):
      return gaussian_kl(mean[a], scale[a], mean[b], scale[b])

    def contrast(a, b):
      return contrast_nats(_scores(params["critic"], z[a], z[b]), mask)

    apart = sum(kl(a, b) + kl(b, a) for a, b in pairs) / (2 * len(pairs))
    told = sum(contrast(a, b) for a, b in pairs) / len(pairs)
    most = jnp.log(jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "contrast_nats": Term(told),
        "views_kl_nats": Term(jnp.tile(apart, views), beta),
      },
      metrics={"i_views_lower_nats": most - told, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, views=2)


def _scores(critic: Array, a: Array, b: Array) -> Array:
  # Squares of a code without bounds would overflow before anything is learned.
  a, b = jnp.clip(a, -1e3, 1e3), jnp.clip(b, -1e3, 1e3)
  phi = [jnp.concatenate([jnp.ones_like(z[:, :1]), z, jnp.square(z)], axis=-1) for z in (a, b)]
  return phi[0] @ critic @ phi[1].T


def _inputs():
  mean = jnp.array([[0.0], [2.0], [1.0], [2.0]])  # the two examples' first views, then second
  aux = {"mean": mean, "log_scale": jnp.zeros((4, 1))}
  return dict(
    outputs=Outputs(Code(jnp.zeros((4, 1)), None, None, aux), jnp.zeros((4, 4)), views=2),
    batch={"y": jnp.zeros(4, jnp.int32)},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="codes that say nothing",
    hyper=dict(beta=0.1),
    inputs=_inputs,
    expected=dict(
      views_kl_nats=0.25,
      contrast_nats=math.log(2),
      i_views_lower_nats=0.0,
      loss=math.log(4) + math.log(2) + 0.025,
    ),
    source="closed form: KLs of 1/2 both ways in one example of two; equal scores",
  ),
)
