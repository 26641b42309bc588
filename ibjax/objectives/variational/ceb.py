"""Conditional entropy bottleneck (CEB).

Source: Fischer 2020, "The conditional entropy bottleneck" (Entropy 22(9):999,
arXiv:2002.05379).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import LOG_2PI, gaussian_kl, gaussian_log_prob
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import cross_entropy_nats, information_bound, refuse_targets
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian("residual", "I(X;Z|Y)")


def ceb(beta: Scalar = 0.1, mean_scale: Scalar = 1.0) -> Objective:
  """Pays only for the information about the input that the label does not explain.

  Use it when there are labels: the information that the label explains is free, so that beta has
  one natural value, 1, and the reported rate is to a prior that knows the classes.

  Formula: min E[-log c(y|z)] + beta E[KL(e(z|x) || b(z|y))], an upper bound on
  -I(Y;Z) + beta I(X;Z|Y) up to H(Y). The backward encoder b(z|y) is one learned diagonal
  Gaussian per class. beta = 1 is the minimum necessary information point; in the paper's
  terms beta = 1/gamma = exp(-rho), and against the information-bottleneck Lagrangian
  I(X;Z) - beta_IB I(Y;Z) it is beta_IB = 1 + 1/beta.

  The residual KL is taken in closed form, the expectation over z of the paper's
  log e(z|x) - log b(z|y). The reported bound on I(X;Z) uses the marginal the backward encoder
  implies, r(z) = sum_y p(y) b(z|y), at the sampled code.

  Args:
    beta: price of a nat of residual information, >= 0; may be traced.
    mean_scale: standard deviation of the class means at the start.

  Returns:
    An `Objective` with losses distortion_nats and residual_nats [n], and the metrics rate_nats
    [n], i_xz_given_y_upper_nats, i_xz_upper_nats and i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a negative hyperparameter, a code that is not Gaussian, real-valued targets in
      place of labels, logits or labels that do not fit.

  Example:
    >>> from ibjax.objectives.variational.ceb import ceb
    >>> objective = ceb(beta=0.1)

  Source: Fischer 2020 (arXiv:2002.05379), eq. 13 with gamma = 1/beta.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("mean_scale", mean_scale, 0.0)

  def init(key, spec):
    refuse_targets("ceb", "learns one backward Gaussian per class", spec)
    size = (spec.label_probs.shape[0], spec.code_dim)
    mean = mean_scale * jax.random.normal(rng.stream(key, "backward"), size)
    return {"mean": mean, "log_scale": jnp.zeros(size)}, {"label_probs": spec.label_probs}

  def loss(params, state, outputs, batch, key, step):
    code, labels = outputs.code, batch["y"]
    own = require("ceb", outputs, "log_prob")
    mean, log_scale = code.aux["mean"], code.aux["log_scale"]
    distortion = cross_entropy_nats(outputs.prediction, labels)
    residual = gaussian_kl(mean, log_scale, params["mean"][labels], params["log_scale"][labels])
    # A class without an example has probability 0, and log 0 = -inf adds nothing, as it should.
    log_backward = gaussian_log_prob(code.value[:, None], params["mean"], params["log_scale"])
    log_marginal = jax.nn.logsumexp(log_backward + jnp.log(state["label_probs"]), axis=-1)
    rate = own - log_marginal
    return Terms(
      losses={"distortion_nats": Term(distortion), "residual_nats": Term(residual, beta)},
      metrics={
        "rate_nats": rate,
        "i_xz_given_y_upper_nats": residual,
        "i_xz_upper_nats": rate,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  zero = jnp.zeros((1, 1))
  aux = {"mean": zero + 1.0, "log_scale": zero, "log_prob": jnp.full(1, -0.5 * LOG_2PI)}
  code = Code(zero + 1.0, jnp.zeros(1), None, aux)
  return dict(
    params={"mean": jnp.array([[0.0], [1.0]]), "log_scale": jnp.zeros((2, 1))},
    outputs=Outputs(code, jnp.zeros((1, 2))),
    batch={"y": jnp.array([0])},
    label_probs=jnp.array([0.5, 0.5]),
  )


CASES = (
  Case(
    name="encoder one standard deviation from its class mean",
    hyper=dict(beta=0.5),
    inputs=_inputs,
    expected=dict(
      distortion_nats=math.log(2),
      residual_nats=0.5,
      rate_nats=-math.log(0.5 * math.exp(-0.5) + 0.5),
      i_yz_lower_nats=0.0,
      loss=math.log(2) + 0.25,
    ),
    source="closed form: KL(N(1,1) || N(0,1)) = 1/2; marginal at z = 1 by hand",
  ),
  Case(
    name="one class: nothing to classify, the residual is the whole rate",
    hyper=dict(beta=1.0),
    inputs=lambda: dict(
      params={"mean": jnp.zeros((1, 1)), "log_scale": jnp.zeros((1, 1))},
      outputs=Outputs(_inputs()["outputs"].code, jnp.zeros((1, 1))),
      batch={"y": jnp.array([0])},
      label_probs=jnp.ones(1),
    ),
    expected=dict(distortion_nats=0.0, residual_nats=0.5, i_yz_lower_nats=0.0, loss=0.5),
    source="limit: H(Y) = 0",
  ),
)
