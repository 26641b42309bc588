"""Self-supervised learning as information in nats: the entropy of the code and its invariance.

Source: Shwartz-Ziv et al. 2023, "An information-theoretic perspective on
variance-invariance-covariance regularization" (NeurIPS, arXiv:2303.00633).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.coding_rate import log_det
from ibjax.objectives.representation.embedding import (
  between_views,
  centred,
  embedded_views,
  unit,
)

LAGRANGIAN = Lagrangian(form="residual", penalty="I(X;Z|X')")


def entropy_invariance(beta: Scalar = 1.0, noise_variance: Scalar = 0.05) -> Objective:
  """Maximises what the code of one view says of another, and prices what it says beside that.

  Formula: min E[-log q(y|z)] - (R - D) + beta D, with R = 1/2 log det(I + Cov(f)/s^2) and
  D = E|f(x) - f(x')|^2 / (2 s^2), in nats, of the code z = f(x) + s noise, f of length one. D is
  KL(p(z|x) || N(f(x'), s^2)) >= I(X;Z|X'). R is I(X;Z) if f is Gaussian, else above it, as the
  Gaussian has the largest entropy of its covariance. R - D is so an estimate of I(Z;X') >= H(Z) +
  E[log q(z|x')], which is no bound on either side: D errs low, R high.

  Use it when there are views and no labels and the terms should be nats with one beta that means
  a price. VICReg's hinge and covariance, and Barlow Twins' redundancy, are other ways to keep R
  large; this is the paper's with the log determinant for the entropy. R is of the whole batch,
  over all views. The term in q trains the decoder; with `config.train.probe` it moves nothing
  else.

  Args:
    beta: price of a nat of D beyond what I(Z;X') takes off, >= 0; may be traced.
    noise_variance: s^2 in each dimension, > 0, of vectors of length one.

  Returns:
    An `Objective` with losses distortion_nats [n], entropy_nats (R), invariance_nats (D), scalars,
    and the metric i_views_nats, R - D.

  Raises:
    InputError: a negative beta, no noise, a single view.

  Example:
    >>> from ibjax.objectives.representation.entropy_invariance import entropy_invariance
    >>> objective = entropy_invariance(beta=0.5)

  Source: Shwartz-Ziv et al. 2023 (arXiv:2303.00633), the bound of section 4 and the estimators of
  entropy of section 5; that f has length one is ours, to fix the unit of s.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("noise_variance", noise_variance, 0.0, strict=True)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    require_views("entropy_invariance", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    z = unit(z)
    rows = z.reshape(-1, z.shape[-1])
    middle = centred(rows, jnp.tile(weight, len(z)))
    count = jnp.maximum(jnp.sum(weight) * len(z), 1.0)
    rate = 0.5 * log_det(middle, 1.0 / (count * noise_variance))
    apart = between_views(z, weight) / (2.0 * noise_variance)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "entropy_nats": Term(rate, -1.0),
        "invariance_nats": Term(apart, 1.0 + beta),
      },
      metrics={"i_views_nats": rate - apart, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, views=2, alone=True)


def _inputs(z):
  z = jnp.asarray(z, jnp.float32)
  return dict(
    outputs=Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 2)), views=2),
    batch={"y": jnp.zeros(len(z), jnp.int32), "mask": jnp.ones(len(z), bool)},
    label_probs=jnp.array([1.0, 0.0]),
  )


CASES = (
  Case(
    name="equal views of two opposite examples: one direction of variance 1",
    hyper=dict(beta=1.0, noise_variance=0.5),
    inputs=lambda: _inputs([[3.0, 0.0], [-1.0, 0.0]] * 2),
    expected=dict(
      entropy_nats=math.log(3.0) / 2,
      invariance_nats=0.0,
      i_views_nats=math.log(3.0) / 2,
      loss=math.log(2.0) - math.log(3.0) / 2,
    ),
    source="closed form: 1/2 log(1 + 1/s^2)",
  ),
  Case(
    name="all in one point but for views that are opposite",
    hyper=dict(beta=0.5, noise_variance=1.0),
    inputs=lambda: _inputs([[3.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [-1.0, 0.0]]),
    expected=dict(
      invariance_nats=2.0,
      i_views_nats=math.log(2.0) / 2 - 2.0,
      loss=math.log(2.0) - math.log(2.0) / 2 + 3.0,
    ),
    source="closed form: |2|^2 / 2 nats apart",
  ),
)
