"""Variance-invariance-covariance regularisation (VICReg).

Source: Bardes, Ponce and LeCun 2022, "VICReg: variance-invariance-covariance regularization for
self-supervised learning" (ICLR, arXiv:2105.04906).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.embedding import between_views, centred, embedded_views

LAGRANGIAN = Lagrangian(form="none", penalty="none")
_LEAST_VARIANCE = 1e-4  # epsilon of the paper's eq. 2: the root's slope stays finite


def vicreg(
  invariance: Scalar = 25.0, variance: Scalar = 25.0, covariance: Scalar = 1.0
) -> Objective:
  """Draws the views of an example together, keeps each dimension spread, and decorrelates them.

  Formula: min E[-log q(y|z)] + invariance s(Z,Z') + variance [v(Z) + v(Z')] + covariance [c(Z) +
  c(Z')]: s is the mean squared difference of two views (over examples and dimensions), v the mean
  over dimensions of max(0, 1 - sqrt(var + 1e-4)), c the sum of the squared covariances of
  different dimensions, over d. More than two views are compared in all pairs, and v and c
  averaged over the views, twice.

  Read as information (Shwartz-Ziv et al. 2023): I(Z;X') >= H(Z) + E[log q(z|x')]; invariance is
  the second term with a Gaussian q about the other view, and v and c together keep up a bound on
  the first. `entropy_invariance` has both in nats.

  Use it when there are views and no labels and batches are small: no example is held against
  another. The term in q trains the decoder; with `config.train.probe` it moves nothing else.

  Args:
    invariance: weight of s, >= 0; may be traced, like the others.
    variance: weight of v, >= 0.
    covariance: weight of c, >= 0.

  Returns:
    An `Objective` with losses distortion_nats [n], invariance, variance_hinge and covariance
    (scalars, without a unit).

  Raises:
    InputError: a negative weight, a single view.

  Example:
    >>> from ibjax.objectives.representation.vicreg import vicreg
    >>> objective = vicreg(invariance=10.0)

  Source: Bardes et al. 2022 (arXiv:2105.04906), eqs. 1 to 6, with s averaged over the dimensions
  too as in its algorithm 1 (eq. 5 sums over them; the published weights are those of the
  algorithm); Shwartz-Ziv et al. 2023 (arXiv:2303.00633), section 4.
  """
  for name, weight in (
    ("invariance", invariance),
    ("variance", variance),
    ("covariance", covariance),
  ):
    checks.at_least(name, weight, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    require_views("vicreg", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    d = z.shape[-1]
    apart = between_views(z, weight) / d
    middle = centred(z, weight)
    rows = jnp.maximum(jnp.sum(weight) - 1.0, 1.0)
    moment = jnp.einsum("vni,vnj->vij", middle, middle, precision=jax.lax.Precision.HIGHEST) / rows
    own = jnp.diagonal(moment, axis1=1, axis2=2)
    hinge = jax.nn.relu(1.0 - jnp.sqrt(own + _LEAST_VARIANCE))
    others = jnp.sum(jnp.square(moment), axis=(1, 2)) - jnp.sum(jnp.square(own), axis=1)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "invariance": Term(apart, invariance),
        "variance_hinge": Term(2.0 * jnp.mean(hinge), variance),
        "covariance": Term(2.0 * jnp.mean(others) / d, covariance),
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
    name="collapse to two points: only the variance is paid",
    hyper=dict(),
    inputs=lambda: _inputs([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [2.0, 0.0]]),
    expected=dict(
      invariance=2.0,
      variance_hinge=2.0 * 0.99,
      covariance=0.0,
      loss=math.log(2) + 50.0 + 49.5,
    ),
    source="by hand: squared difference 4 in one of two dimensions; 1 - sqrt(1e-4)",
  ),
  Case(
    name="equal views, two equal dimensions of variance 2",
    hyper=dict(covariance=0.5),
    inputs=lambda: _inputs([[1.0, 1.0], [-1.0, -1.0]] * 2),
    expected=dict(
      invariance=0.0, variance_hinge=0.0, covariance=2.0 * 8.0 / 2.0, loss=math.log(2) + 4.0
    ),
    source="by hand: the covariance matrix is 2 everywhere (n - 1 = 1)",
  ),
)
