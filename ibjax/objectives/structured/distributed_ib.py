"""Distributed information bottleneck: a rate of its own for every feature.

Source: Murphy and Bassett 2022, "The distributed information bottleneck reveals the explanatory
structure of complex systems" (arXiv:2204.07576).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian(form="rate", penalty="sum of I(X_i;Z_i) over features")


def distributed_ib(beta: Scalar = 1e-2, features: int = 2) -> Objective:
  """Pays for the information about each feature of the input, and reports it feature by feature.

  Formula: min E[-log q(y|z_1..z_G)] + beta sum_i E[KL(p(z_i|x_i) || N(0, I))]; each KL, in nats,
  is an upper bound on I(X_i;Z_i). Features that do not help to predict lose their rate first, as
  beta grows; the rates at each beta say where the information lies.

  Use it when the question is which parts of the input matter: the encoder must be
  `ibjax.models.per_feature_mlp`, so that part i of the code depends on feature i alone. One run
  with `beta_schedule` from a small to a large beta gives the whole curve.

  Args:
    beta: price of a nat of any feature's rate, >= 0; may be traced.
    features: number of features, equal parts of the code in order.

  Returns:
    An `Objective` with losses distortion_nats and rate_nats [n], the sum, and the metrics
    "feature_<i>_rate_nats" [n], i_xz_upper_nats and i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a negative beta, a code that is not Gaussian or cannot be cut into as many
      features, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.structured.distributed_ib import distributed_ib
    >>> objective = distributed_ib(beta=1e-2, features=10)

  Source: Murphy and Bassett 2022 (arXiv:2204.07576), the variational distributed bottleneck's loss.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("features", features, 1)

  def init(key, spec):
    if spec.code_dim % features:
      raise InputError(
        f"distributed_ib cuts the code into {features} equal features, and it has "
        f"{spec.code_dim} dimensions. Make config.bottleneck.dim a multiple of {features}."
      )
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    mean = require("distributed_ib", outputs, "mean")
    log_scale = require("distributed_ib", outputs, "log_scale")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    mean, log_scale = (a.reshape(len(a), features, -1) for a in (mean, log_scale))
    rates = gaussian_kl(mean, log_scale, jnp.zeros_like(mean), jnp.zeros_like(mean))
    total = jnp.sum(rates, axis=-1)
    checks.shape("rate", total, distortion.shape)
    return Terms(
      losses={"distortion_nats": Term(distortion), "rate_nats": Term(total, beta)},
      metrics={
        **{f"feature_{i}_rate_nats": rates[:, i] for i in range(features)},
        "i_xz_upper_nats": total,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  mean = jnp.array([[2.0, 0.0, 1.0, 0.0]])
  aux = {"mean": mean, "log_scale": jnp.zeros((1, 4))}
  code = Code(value=mean, rate=None, bits=None, aux=aux)
  return dict(
    outputs=Outputs(code, jnp.zeros((1, 4))),
    batch={"y": jnp.array([2])},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="two features of two dimensions",
    hyper=dict(beta=0.1),
    inputs=_inputs,
    expected=dict(
      feature_0_rate_nats=2.0,
      feature_1_rate_nats=0.5,
      rate_nats=2.5,
      i_yz_lower_nats=0.0,
      loss=math.log(4) + 0.25,
    ),
    source="closed form: the KL of N(m, 1) with N(0, 1) is m^2 / 2",
  ),
  Case(
    name="beta = 0 is cross-entropy",
    hyper=dict(beta=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4)),
    source="limit",
  ),
)
