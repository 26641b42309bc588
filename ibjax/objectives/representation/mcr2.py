"""Maximal coding rate reduction (MCR2), supervised or by views of the same example.

Source: Yu et al. 2020, "Learning diverse and discriminative representations via the principle of
maximal coding rate reduction" (NeurIPS, arXiv:2006.08558).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import (
  distortion_nats,
  information_bound,
  init_distortion,
  refuse_targets,
)
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.coding_rate import class_coding_rate, coding_rate
from ibjax.objectives.representation.embedding import embedded, unit

CLASSES = ("labels", "views")
LAGRANGIAN = Lagrangian(form="rate", penalty="coding rate within classes")


def mcr2(
  classes: str = "labels",
  epsilon_squared: Scalar = 0.5,
  beta: Scalar = 1.0,
  gamma_1: Scalar = 1.0,
  gamma_2: Scalar = 1.0,
) -> Objective:
  """Spreads all vectors over as much of the space as can be, and each class over as little.

  Formula: min E[-log q(y|z)] - gamma_2 R(Z) + beta R_c(Z), with the vectors scaled to length one,
  R = 1/2 log det(I + gamma_1 d/(m epsilon^2) Z'Z) and R_c the same (without gamma_1) within each
  class, averaged over the vectors. All in nats. Classes are the labels, or ("views") the examples
  that augmented views are of; then labels are not needed. beta = gamma_1 = gamma_2 = 1 is the
  rate reduction; the paper's self-supervised form has gamma_1 = 20 and gamma_2 = 0.05.

  Use it when the code itself should be good: classes on orthogonal subspaces, wide within, which
  labels that are partly wrong spoil less than a softmax. A batch must hold many vectors of each
  class (of labels), or two views and more; the rates are of the whole batch, so they change with
  its size. The term in q trains the decoder; with `config.train.probe` it moves nothing else, as
  in the paper.

  Args:
    classes: "labels", or "views": each example is a class, and its views are the members.
    epsilon_squared: mean squared error allowed per vector of length one, > 0.
    beta: price of a nat of the rate within classes, >= 0; may be traced.
    gamma_1: multiplies inside the determinant of R, > 0.
    gamma_2: multiplies R, >= 0.

  Returns:
    An `Objective` with losses distortion_nats [n], expansion_nats (R) and compression_nats (R_c),
    scalars; and the metric rate_reduction_nats, R - R_c with gamma_1 as it is.

  Raises:
    InputError: a hyperparameter out of range, real-valued targets with classes="labels", a single
      view with classes="views".

  Example:
    >>> from ibjax.objectives.representation.mcr2 import mcr2
    >>> objective = mcr2(classes="views", gamma_1=20.0, gamma_2=0.05)

  Source: Yu et al. 2020 (arXiv:2006.08558), eqs. 2, 6, 8 and, for views, 11.
  """
  checks.one_of("classes", classes, CLASSES)
  checks.at_least("epsilon_squared", epsilon_squared, 0.0, strict=True)
  checks.at_least("beta", beta, 0.0)
  checks.at_least("gamma_1", gamma_1, 0.0, strict=True)
  checks.at_least("gamma_2", gamma_2, 0.0)
  by_label = classes == "labels"

  def init(key, spec):
    if by_label:
      refuse_targets("mcr2", "takes the labels as classes", spec)
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded(outputs, batch)
    z = unit(z)
    expansion = coding_rate(z, weight, epsilon_squared, gamma_1)
    if by_label:
      count = state["label_probs"].shape[0]
      compression = class_coding_rate(z, batch["y"], weight, count, epsilon_squared)
    else:
      views = require_views("mcr2 with classes='views'", outputs)
      # One small determinant an example: views by views, or d by d where that is smaller.
      members = jnp.swapaxes(z.reshape(views, -1, z.shape[-1]), 0, 1)
      own = jnp.swapaxes(weight.reshape(views, -1), 0, 1)
      share = jnp.sum(own, axis=-1) / jnp.maximum(jnp.sum(own), 1.0)
      compression = jnp.sum(share * coding_rate(members, own, epsilon_squared))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "expansion_nats": Term(expansion, -jnp.asarray(gamma_2)),
        "compression_nats": Term(compression, beta),
      },
      metrics={
        "rate_reduction_nats": expansion - compression,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss, couples=True, views=1 if by_label else 2, alone=True)


def _inputs(z, y, classes, views=1):
  z, y = jnp.asarray(z, jnp.float32), jnp.asarray(y)
  outputs = Outputs(Code(z, None, None, {}), jnp.zeros((len(y), classes)), views=views)
  return dict(
    outputs=outputs,
    batch={"y": y, "mask": jnp.ones(len(y), bool)},
    label_probs=jnp.full(classes, 1.0 / classes),
  )


# Two classes on the two axes: d/2 log(1 + 1/eps^2) in all, 1/2 log(1 + d/eps^2) within a class.
_SPREAD = dict(expansion_nats=math.log(3.0), compression_nats=math.log(5.0) / 2)

CASES = (
  Case(
    name="a tight frame, each class on its own axis",
    hyper=dict(beta=0.5, gamma_2=2.0),
    inputs=lambda: _inputs([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -2.0]], [0, 0, 1, 1], 2),
    expected=dict(
      **_SPREAD,
      distortion_nats=math.log(2),
      rate_reduction_nats=math.log(3.0) - math.log(5.0) / 2,
      loss=math.log(2) - 2.0 * math.log(3.0) + math.log(5.0) / 4,
    ),
    source="closed form: a tight frame has the largest rate, equal columns the least",
  ),
  Case(
    name="one class: nothing to reduce",
    hyper=dict(),
    inputs=lambda: _inputs([[3.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [0, 0, 0], 1),
    expected=dict(rate_reduction_nats=0.0, loss=0.0),
    source="closed form: R = R_c",
    rtol=1.0,
  ),
  Case(
    name="two views of two examples, each example on its own axis",
    hyper=dict(classes="views"),
    inputs=lambda: _inputs([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]], [0, 0, 0, 0], 1, 2),
    expected=dict(**_SPREAD, i_yz_lower_nats=0.0),
    source="closed form: as with labels; a label that is always the same has H(Y) = 0",
  ),
)
