"""Conditional entropy bottleneck with a linear backward encoder: for real-valued targets too.

Source: Fischer 2020, "The conditional entropy bottleneck" (Entropy 22(9):999,
arXiv:2002.05379).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian("residual", "I(X;Z|Y)")


def ceb_linear(beta: Scalar = 0.1) -> Objective:
  """Pays only for the information about the input that the label or the target does not explain.

  Use it when the targets are real-valued, where `ceb` has no classes to learn a Gaussian for, or
  the classes are too many to learn a scale for each.

  Formula: min E[-log d(y|z)] + beta E[KL(e(z|x) || b(z|y))], an upper bound on
  -I(Y;Z) + beta I(X;Z|Y) up to H(Y); b(z|y) = N(A y + c, diag(s^2)), y a target or one-hot, d a
  softmax or a Gaussian of learned covariance. For jointly Gaussian X and Y the bound is tight at
  the optimum, which is that of the Gaussian information bottleneck at the price
  beta / (1 + beta).

  Args:
    beta: price of a nat of residual information, >= 0; may be traced.

  Returns:
    An `Objective` with losses distortion_nats and residual_nats [n], and the metrics
    i_xz_given_y_upper_nats and i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a negative beta, a code that is not Gaussian, predictions, labels or
      targets that do not fit.

  Example:
    >>> from ibjax.objectives.variational.ceb_linear import ceb_linear
    >>> objective = ceb_linear(beta=0.1)

  Source: Fischer 2020 (arXiv:2002.05379), eq. 13 with gamma = 1/beta; the linear b is ours.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    params, state = init_distortion(spec)
    width = spec.target_dim or spec.label_probs.shape[0]
    # b(z|y) starts as the standard prior that knows nothing of y.
    backward = {
      "bias": jnp.zeros(spec.code_dim),
      "log_scale": jnp.zeros(spec.code_dim),
      "weight": jnp.zeros((width, spec.code_dim)),
    }
    return {**params, "backward": backward}, state

  def loss(params, state, outputs, batch, key, step):
    mean, log_scale = (require("ceb_linear", outputs, name) for name in ("mean", "log_scale"))
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    y, backward = batch["y"], params["backward"]
    if jnp.issubdtype(y.dtype, jnp.integer):
      explained = backward["weight"][y]
    else:
      explained = y.astype(jnp.float32) @ backward["weight"]
    checks.shape("the backward encoder's mean", explained, mean.shape)
    residual = gaussian_kl(mean, log_scale, explained + backward["bias"], backward["log_scale"])
    return Terms(
      losses={"distortion_nats": Term(distortion), "residual_nats": Term(residual, beta)},
      metrics={"i_xz_given_y_upper_nats": residual, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss)


def _inputs(y):
  zero = jnp.zeros((1, 1))
  code = Code(zero + 1.0, jnp.zeros(1), None, {"mean": zero + 1.0, "log_scale": zero})
  covariance = {"log_diagonal": jnp.zeros(1), "lower": jnp.zeros((1, 1))}
  labels = jnp.issubdtype(y.dtype, jnp.integer)
  backward = {"bias": jnp.zeros(1), "log_scale": jnp.zeros(1), "weight": jnp.array([[0.5]])}
  if labels:
    backward["weight"] = jnp.array([[0.0], [1.0]])
  return dict(
    params={"backward": backward} | ({} if labels else {"covariance": covariance}),
    outputs=Outputs(code, jnp.zeros((1, 2)) if labels else zero),
    batch={"y": y},
    label_probs=jnp.array([0.5, 0.5]) if labels else jnp.zeros(0),
  )


CASES = (
  Case(
    name="encoder one standard deviation from its class mean",
    hyper=dict(beta=0.5),
    inputs=lambda: _inputs(jnp.array([0])),
    expected=dict(distortion_nats=math.log(2), residual_nats=0.5, loss=math.log(2) + 0.25),
    source="closed form: KL(N(1,1) || N(0,1)) = 1/2",
  ),
  Case(
    name="a target of 4, whose backward mean is 2, predicted as 0 with unit variance",
    hyper=dict(beta=2.0),
    inputs=lambda: _inputs(jnp.array([[4.0]])),
    expected=dict(
      distortion_nats=8.0 + 0.5 * math.log(2 * math.pi),
      residual_nats=0.5,
      loss=9.0 + 0.5 * math.log(2 * math.pi),
    ),
    source="closed form: KL(N(1,1) || N(2,1)) = 1/2, -log N(4; 0, 1)",
  ),
)
