"""Barlow Twins: the cross-correlation of two views made the identity.

Source: Zbontar et al. 2021, "Barlow twins: self-supervised learning via redundancy reduction"
(ICML, arXiv:2103.03230).
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.embedding import centred, embedded_views

LAGRANGIAN = Lagrangian(form="rate", penalty="squared correlations of different dimensions")


def barlow_twins(beta: Scalar = 5e-3) -> Objective:
  """Makes each dimension say the same of two views, and different dimensions different things.

  Formula: min E[-log q(y|z)] + sum_i (1 - C_ii)^2 + beta sum_i sum_(j != i) C_ij^2, C the
  correlations over the batch of the dimensions of one view with those of the other. The first sum
  is the invariance, the second the redundancy; the paper reads it as an information bottleneck,
  where their ratio is what beta is there. More than two views are averaged over all pairs.

  Use it when there are views and no labels, and the embedding is wide. The term in q trains the
  decoder; with `config.train.probe` it moves nothing else.

  Args:
    beta: price of the redundancy, >= 0; may be traced. The paper calls it lambda.

  Returns:
    An `Objective` with losses distortion_nats [n], invariance and redundancy (scalars, without a
    unit).

  Raises:
    InputError: a negative beta, a single view.

  Example:
    >>> from ibjax.objectives.representation.barlow_twins import barlow_twins
    >>> objective = barlow_twins(beta=0.01)

  Source: Zbontar et al. 2021 (arXiv:2103.03230), eqs. 1 and 2; appendix A for the bottleneck.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    require_views("barlow_twins", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    middle = centred(z, weight)
    square = jnp.sum(jnp.square(middle), axis=1, keepdims=True)
    # A dimension that is always the same correlates with nothing.
    white = middle * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
    own, others = [], []
    for a, b in itertools.combinations(range(len(z)), 2):
      correlation = jnp.matmul(white[a].T, white[b], precision=jax.lax.Precision.HIGHEST)
      diagonal = jnp.diagonal(correlation)
      own.append(jnp.sum(jnp.square(1.0 - diagonal)))
      others.append(jnp.sum(jnp.square(correlation)) - jnp.sum(jnp.square(diagonal)))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "invariance": Term(jnp.mean(jnp.stack(own))),
        "redundancy": Term(jnp.mean(jnp.stack(others)), beta),
      },
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True, views=2)


def _inputs(z):
  z = jnp.asarray(z, jnp.float32)
  return dict(
    outputs=Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 2)), views=2),
    batch={"y": jnp.zeros(len(z), jnp.int32), "mask": jnp.ones(len(z), bool)},
    label_probs=jnp.array([1.0, 0.0]),
  )


CASES = (
  Case(
    name="equal views, two equal dimensions",
    hyper=dict(beta=0.5),
    inputs=lambda: _inputs([[1.0, 5.0], [-1.0, 1.0]] * 2),
    expected=dict(invariance=0.0, redundancy=2.0, loss=math.log(2) + 1.0),
    source="by hand: all four correlations are 1",
    rtol=1e-4,
  ),
  Case(
    name="collapse: a constant dimension has no correlation",
    hyper=dict(),
    inputs=lambda: _inputs([[1.0, 2.0], [-1.0, 2.0], [-1.0, 2.0], [1.0, 2.0]]),
    expected=dict(invariance=5.0, redundancy=0.0),
    source="by hand: correlations -1 and 0 in place of 1",
    rtol=1e-4,
  ),
)
