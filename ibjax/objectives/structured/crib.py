"""Consistency-regularised information bottleneck (CRIB) for incomplete observations.

Source: Yang et al. 2025, "Revisiting multivariate time series forecasting with missing values"
(arXiv:2509.23494).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

Array = jax.Array

LAGRANGIAN = Lagrangian("rate", "I(X;Z)")


def crib(beta: Scalar = 1e-3, consistency: Scalar = 1.0) -> Objective:
  """Predicts from what was observed, pays for the rate, and holds a harder view's code beside it.

  Formula: min E[-log q(y|z)] + beta E[KL(p(z|x) || r(z))] + consistency E[|m(x) - m(x')|^2 / d],
  with m the mean of the code [d], x the first view and x' the others (their distances are
  averaged). Distortion and rate are of the first view alone, in nats; beta multiplies I(X;Z). With
  consistency = 0 it is VIB of the first view.

  Use it when inputs have values missing and none are filled in: the code of an input shall not
  depend on which values happen to be missing. The first view should be the input as it was
  observed (config.views.keep_first), the second one with more missing, as by
  `ibjax.views.mask_and_noise`.

  Assumptions, where the paper was not at hand and its code is read otherwise: the distance is the
  mean square of the difference of the codes' means (there: of the features before the code); the
  prediction is made from the sampled code (there: from those features, so that the rate restricts
  nothing that is predicted); the distortion is a Gaussian's or a softmax's (there: absolute
  errors). Weights are not given; 1 and the rate's 1e-3 are ours.

  Args:
    beta: price of a nat of rate, >= 0; may be traced.
    consistency: weight of the mean square distance of the views' codes, >= 0; may be traced.

  Returns:
    An `Objective` of at least two views with losses distortion_nats, rate_nats and consistency
    [views n], whose averages over all rows are those over examples (rows of other views hold 0 of
    what is of the first one alone), and the bounds i_xz_upper_nats and i_yz_lower_nats. With one
    view, as in evaluation of the input itself, the consistency is 0.

  Raises:
    InputError: a negative weight, a code without a rate or a mean, predictions or targets that do
      not fit.

  Example:
    >>> from ibjax.objectives.structured.crib import crib
    >>> objective = crib(beta=1e-3, consistency=1.0)
    >>> objective.views
    2

  Source: Yang et al. 2025 (arXiv:2509.23494), the sum of its bottleneck and its consistency loss;
  the variational bottleneck is Alemi et al. 2017 (arXiv:1612.00410), eq. 17.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("consistency", consistency, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    rate, mean = require("crib", outputs, "rate"), require("crib", outputs, "mean")
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    checks.shape("rate", rate, distortion.shape)
    distortion = _of_the_first(distortion, outputs.views)
    rate = _of_the_first(rate, outputs.views)
    distance = _distances(mean.astype(jnp.float32), outputs.views)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "rate_nats": Term(rate, beta),
        "consistency": Term(distance, consistency),
      },
      metrics={"i_xz_upper_nats": rate, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, views=2)


def _of_the_first(values: Array, views: int) -> Array:
  """The first view's values times the number of views, and 0: the same average over all rows."""
  first = jnp.arange(values.shape[0]) < values.shape[0] // views
  return jnp.where(first, views * values, 0.0)


def _distances(mean: Array, views: int) -> Array:
  """Mean square distance of the other views to the first, for every row of an example."""
  if views == 1:
    return jnp.zeros(mean.shape[0])
  parted = mean.reshape(views, -1, mean.shape[-1])
  return jnp.tile(jnp.mean(jnp.square(parted[1:] - parted[:1]), axis=(0, 2)), views)


def _inputs(views=2):
  """One example; the second view's mean is (1, 3) beside (0, 0), its rate and prediction wild."""
  mean = jnp.array([[0.0, 0.0], [1.0, 3.0]])[:views]
  code = Code(mean, jnp.array([3.0, 50.0])[:views], bits=None, aux={"mean": mean})
  return dict(
    outputs=Outputs(code, jnp.array([[0.0] * 4, [9.0, 0.0, 0.0, 0.0]])[:views], views=views),
    batch={"y": jnp.array([2, 2])[:views]},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="two views whose means are (1, 3) apart",
    hyper=dict(beta=0.1, consistency=0.5),
    inputs=_inputs,
    expected=dict(
      distortion_nats=math.log(4),
      rate_nats=3.0,
      consistency=5.0,
      i_yz_lower_nats=0.0,
      loss=math.log(4) + 0.3 + 2.5,
    ),
    source="closed form: (1 + 9) / 2; uniform logits give log 4; of the first view",
  ),
  Case(
    name="no weight on consistency is VIB of the first view",
    hyper=dict(beta=0.1, consistency=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(4) + 0.3),
    source="limit: VIB's own case",
  ),
  Case(
    name="one view is consistent with itself",
    hyper=dict(beta=0.1, consistency=7.0),
    inputs=lambda: _inputs(views=1),
    expected=dict(consistency=0.0, loss=math.log(4) + 0.3),
    source="limit",
  ),
)
