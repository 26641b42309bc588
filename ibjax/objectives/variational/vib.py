"""Deep variational information bottleneck (VIB).

Source: Alemi et al. 2017, "Deep variational information bottleneck" (arXiv:1612.00410).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian("rate", "I(X;Z)")


def vib(beta: Scalar = 1e-3) -> Objective:
  """Trades the target information of a stochastic code for the input information it pays.

  Use it when you want the plain information bottleneck: any bottleneck that pays a rate, labels or
  targets. Where all of Y is known from X, its curve is straight and `convex` traces it better.

  Formula: min E[-log q(y|z)] + beta E[KL(p(z|x) || r(z))], an upper bound on
  -I(Y;Z) + beta I(X;Z) up to the constant H(Y). Both terms in nats, the KL summed over the
  dimensions of the code; beta multiplies I(X;Z). q(y|z) is a softmax for labels, and a Gaussian
  of learned covariance for real-valued targets.

  Args:
    beta: price of a nat of rate, >= 0; may be traced.

  Returns:
    An `Objective` with losses distortion_nats and rate_nats [n], and the bounds
    I(X;Z) <= i_xz_upper_nats and I(Y;Z) >= i_yz_lower_nats (averages, nats); the latter needs
    H(Y), which for targets only a synthetic task knows.

  Raises:
    InputError: a negative beta, a code without a rate, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.variational.vib import vib
    >>> objective = vib(beta=1e-3)

  Source: Alemi et al. 2017 (arXiv:1612.00410), eq. 17; bounds eqs. 12 and 14.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    rate = require("vib", outputs, "rate")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    checks.shape("rate", rate, distortion.shape)
    return Terms(
      losses={"distortion_nats": Term(distortion), "rate_nats": Term(rate, beta)},
      metrics={"i_xz_upper_nats": rate, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  code = Code(value=jnp.zeros((1, 1)), rate=jnp.array([3.0]), bits=None, aux={})
  return dict(
    outputs=Outputs(code, jnp.zeros((1, 4))),
    batch={"y": jnp.array([2])},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="uninformative decoder",
    hyper=dict(beta=0.1),
    inputs=_inputs,
    expected=dict(
      distortion_nats=math.log(4),
      rate_nats=3.0,
      i_xz_upper_nats=3.0,
      i_yz_lower_nats=0.0,
      loss=math.log(4) + 0.3,
    ),
    source="closed form: uniform logits give log 4, and I(Y;Z) >= 0",
  ),
  Case(
    name="beta = 0 is cross-entropy",
    hyper=dict(beta=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4)),
    source="limit",
  ),
  Case(
    name="a target one off in each of two dimensions, unit covariance",
    hyper=dict(beta=0.1),
    inputs=lambda: dict(
      outputs=_inputs()["outputs"]._replace(prediction=jnp.zeros((1, 2))),
      batch={"y": jnp.ones((1, 2))},
      target_entropy_nats=3.0,
    ),
    expected=dict(
      distortion_nats=1.0 + math.log(2 * math.pi),
      i_yz_lower_nats=2.0 - math.log(2 * math.pi),
      loss=1.3 + math.log(2 * math.pi),
    ),
    source="closed form: -log N(1; 0, 1) = (1 + log 2 pi) / 2 in each dimension",
  ),
)
