"""Variational bottleneck with relevance determination and an orthogonal projection (O-VIB).

Source: Fang et al. 2025, "Task-oriented communications for visual navigation with edge-aerial
collaboration in low altitude economy" (arXiv:2504.18317).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian(form="rate", penalty="I(X;Z)")
# What the generic tests give beside a Gaussian code with these means.
AUX = {
  "orthogonality": lambda mean: jnp.float32(2.0),
  "active": lambda mean: jnp.ones(mean.shape[1], bool),
}


def o_vib(beta: Scalar = 1e-2, orthogonality: Scalar = 1e-2) -> Objective:
  """Learns which dimensions of a code carry something, and keeps their directions apart.

  Formula: min E[-log q(y|z)] + beta sum_d E[KL(q(z_d|x) || N(0, alpha_d))]
  + orthogonality ||W W' - I||_F^2; nats, alpha and W the bottleneck's parameters
  (`ibjax.bottlenecks.ard_gaussian`). orthogonality = 0 and alpha = 1 is VIB.

  Use it when the code is sent over a channel and every dimension costs: dimensions without a rate
  are not sent in evaluation, and their number is reported.

  Args:
    beta: price of a nat of rate, >= 0; may be traced.
    orthogonality: weight of the squared distance of W W' from the identity, >= 0; may be traced.

  Returns:
    An `Objective` with losses distortion_nats and rate_nats [n] and "orthogonality", a scalar
    without a unit, and the metrics active_dimensions (a count), i_xz_upper_nats and
    i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a negative weight, a bottleneck other than `ard_gaussian`, predictions or targets
      that do not fit.

  Example:
    >>> from ibjax.objectives.structured.o_vib import o_vib
    >>> objective = o_vib(beta=1e-2, orthogonality=1e-2)

  Source: Fang et al. 2025 (arXiv:2504.18317): relevance determination and orthogonality beside the
  variational bottleneck; this form of the two is assumed from the description.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("orthogonality", orthogonality, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    rate = require("o_vib", outputs, "rate")
    gap = require("o_vib", outputs, "orthogonality")
    active = require("o_vib", outputs, "active")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    checks.shape("rate", rate, distortion.shape)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "rate_nats": Term(rate, beta),
        "orthogonality": Term(gap, orthogonality),
      },
      metrics={
        "active_dimensions": jnp.sum(active, dtype=jnp.float32),
        "i_xz_upper_nats": rate,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  aux = {"orthogonality": jnp.float32(9.0), "active": jnp.array([True, False, True])}
  code = Code(value=jnp.zeros((1, 3)), rate=jnp.array([3.0]), bits=None, aux=aux)
  return dict(
    outputs=Outputs(code, jnp.zeros((1, 4))),
    batch={"y": jnp.array([2])},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="three weighted terms",
    hyper=dict(beta=0.1, orthogonality=0.01),
    inputs=_inputs,
    expected=dict(
      orthogonality=9.0, active_dimensions=2.0, rate_nats=3.0, loss=math.log(4) + 0.3 + 0.09
    ),
    source="by hand",
  ),
  Case(
    name="without orthogonality it is VIB",
    hyper=dict(beta=0.1, orthogonality=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4) + 0.3),
    source="limit",
  ),
)
