"""Evidence lower bound of a network with a distribution over its weights (Bayes by Backprop).

Source: Blundell et al. 2015, "Weight uncertainty in neural networks" (arXiv:1505.05424). Alemi
et al. 2020, "VIB is half Bayes" (arXiv:2011.08711), sets it beside the VIB: there each example
has a latent of its own and pays its own KL; here one latent, the weights, serves all examples and
its KL is paid once.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion

LAGRANGIAN = Lagrangian("rate", "I(S;W)")


def elbo(beta: Scalar = 1.0) -> Objective:
  """Minimises the negative evidence lower bound of the training set, per example.

  Use it when the weights, not the code, should carry the uncertainty: few examples of both X and Y.

  Formula: min 1/n { sum_i E_q(w)[-log p(y_i|x_i, w)] + beta KL(q(w) || p(w)) }, n the size of the
  training split. At beta = 1, n times the loss is at least -log p(y_1..n|x_1..n), with equality
  when q is the exact posterior; beta < 1 is a cold posterior, and beta = 0 maximum likelihood.

  Args:
    beta: price of a nat that the weights learn, >= 0; may be traced.

  Returns:
    An `Objective` with losses distortion_nats [n] and parameter_kl_nats (a scalar, of the whole
    training set), and the bound I(Y;Z) >= i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, models without a distribution over their weights,
      predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.bayesian.elbo import elbo
    >>> objective = elbo(beta=1.0)

  Source: Blundell et al. 2015 (arXiv:1505.05424), eqs. 1 and 8, with 1/M of the KL in each of the
  M batches of an epoch, and the KL in closed form.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    checks.at_least("n_train", spec.n_train, 1)
    params, state = init_distortion(spec)
    return params, {**state, "n_train": jnp.float32(spec.n_train)}

  def loss(params, state, outputs, batch, key, step):
    if outputs.parameter_kl is None:
      raise InputError(
        "elbo needs a model with a distribution over its weights; there is none. Use "
        "config.encoder.fn='ibjax.models.bayes_mlp:bayes_mlp', and for the decoder too."
      )
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    checks.shape("parameter_kl", outputs.parameter_kl, ())
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "parameter_kl_nats": Term(outputs.parameter_kl, beta / state["n_train"]),
      },
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  code = Code(value=jnp.zeros((1, 1)), rate=None, bits=None, aux={})
  return dict(
    outputs=Outputs(code, jnp.zeros((1, 4)), parameter_kl=jnp.float32(3.0)),
    batch={"y": jnp.array([2])},
    label_probs=jnp.full(4, 0.25),
    n_train=60,
  )


CASES = (
  Case(
    name="the KL is paid once for all 60 examples",
    hyper=dict(beta=1.0),
    inputs=_inputs,
    expected=dict(
      distortion_nats=math.log(4),
      parameter_kl_nats=3.0,
      i_yz_lower_nats=0.0,
      loss=math.log(4) + 3.0 / 60,
    ),
    source="closed form: uniform logits give log 4, and 60 of them cost 60 log 4 + 3",
  ),
  Case(
    name="beta = 0 is maximum likelihood",
    hyper=dict(beta=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4)),
    source="limit",
  ),
)
