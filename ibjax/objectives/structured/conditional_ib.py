"""Conditional information bottleneck: a side variable is free, the rest of the input is paid for.

Source: Gondek and Hofmann 2003, "Conditional information bottleneck clustering"; the variational
bound follows Fischer 2020 (arXiv:2002.05379), whose side variable is the label.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import (
  distortion_nats,
  information_bound,
  init_distortion,
  refuse_targets,
)
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian(form="rate", penalty="I(X;Z|S)")


def conditional_ib(
  beta: Scalar = 1e-2, first: int = 0, width: int = 1, side: str = "input"
) -> Objective:
  """Pays only for what the code says of the input beyond a known side variable S.

  Formula: min E[-log q(y|z)] + beta E[KL(p(z|x) || r(z|s))]; the KL, in nats, is an upper bound on
  I(X;Z|S), with equality at r(z|s) = p(z|s). r(z|s) is a diagonal Gaussian whose mean and log
  scale are learned affine functions of s. S is a function of the input: `width` values of the
  flattened x from `first` on; or the label, for which the penalty is CEB's residual.

  Use it when part of the input is known to the receiver anyway, or should not count: a
  site, a time of day, the previous state. The code may hold S at no cost, so the decoder needs
  no input of its own for it.

  Assumption: an affine r; it is exact for a discrete S given as one-hot values and Gaussian codes
  within each, and for jointly Gaussian S and Z.

  Args:
    beta: price of a nat of I(X;Z|S), >= 0; may be traced.
    first: position of S in the flattened input.
    width: number of its values.
    side: "input", or "label" (`first` and `width` are then not used).

  Returns:
    An `Objective` with losses distortion_nats and conditional_rate_nats [n], and the metrics
    i_xz_given_s_upper_nats and i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a value out of range, a code that is not Gaussian, an input without these values,
      targets where the side is the label, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.structured.conditional_ib import conditional_ib
    >>> objective = conditional_ib(beta=1e-2, first=0, width=3)

  Source: Gondek and Hofmann 2003, the conditional bottleneck, with what is kept and what is paid
  as here; Fischer 2020 (arXiv:2002.05379), eq. 13, for the bound.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("first", first, 0)
  checks.at_least("width", width, 1)
  checks.one_of("side", side, ("input", "label"))

  def init(key, spec):
    inputs = width
    if side == "label":
      refuse_targets("conditional_ib with side='label'", "conditions on a class", spec)
      inputs = spec.label_probs.shape[0]
    params, state = init_distortion(spec)
    size = (inputs, spec.code_dim)
    mean = jax.random.normal(rng.stream(key, "side"), size) / math.sqrt(inputs)
    prior = {
      "mean": {"kernel": mean, "bias": jnp.zeros(spec.code_dim)},
      "log_scale": {"kernel": jnp.zeros(size), "bias": jnp.zeros(spec.code_dim)},
    }
    return {**params, "prior": prior}, state

  def known(batch):
    if side == "label":
      return None
    x = batch["x"].reshape(len(batch["x"]), -1)
    if first + width > x.shape[1]:
      raise InputError(
        f"conditional_ib takes values {first} to {first + width - 1} of the input as the side "
        f"variable, and an input has {x.shape[1]}. Choose first and width within it."
      )
    return x[:, first : first + width]

  def loss(params, state, outputs, batch, key, step):
    mean = require("conditional_ib", outputs, "mean")
    log_scale = require("conditional_ib", outputs, "log_scale")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    s = known(batch)

    def affine(layer):
      row = layer["kernel"][batch["y"]] if s is None else s @ layer["kernel"]
      return row + layer["bias"]

    prior = params["prior"]
    rate = gaussian_kl(mean, log_scale, affine(prior["mean"]), affine(prior["log_scale"]))
    checks.shape("rate", rate, distortion.shape)
    return Terms(
      losses={"distortion_nats": Term(distortion), "conditional_rate_nats": Term(rate, beta)},
      metrics={"i_xz_given_s_upper_nats": rate, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  aux = {"mean": jnp.array([[3.0]]), "log_scale": jnp.zeros((1, 1))}
  layer = {"kernel": jnp.array([[0.5]]), "bias": jnp.array([0.5])}
  flat = {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
  return dict(
    outputs=Outputs(Code(jnp.zeros((1, 1)), None, None, aux), jnp.zeros((1, 4))),
    batch={"x": jnp.array([[3.0, 7.0]]), "y": jnp.array([2])},
    params={"prior": {"mean": layer, "log_scale": flat}},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="what the side variable says is free",
    hyper=dict(beta=0.1),
    inputs=_inputs,
    expected=dict(conditional_rate_nats=0.5, i_xz_given_s_upper_nats=0.5, loss=math.log(4) + 0.05),
    source="closed form: r is centred on 0.5 3 + 0.5 = 2, so (3 - 2)^2 / 2",
  ),
  Case(
    name="beta = 0 is cross-entropy",
    hyper=dict(beta=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4)),
    source="limit",
  ),
)
