"""Cross-entropy with the HSIC bottleneck's terms beside it.

Source: Wang et al. 2021, "Revisiting Hilbert-Schmidt information bottleneck for adversarial
robustness" (arXiv:2106.02734).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives import batch_kernels
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion

LAGRANGIAN = Lagrangian(form="rate", penalty="HSIC(X;Z)")


def hsic_regularizer(
  beta: Scalar = 0.1,
  gamma: Scalar = 0.0,
  form: str = "nhsic",
  width_x: Scalar = 5.0,
  width_y: Scalar = 1.0,
  width_z: Scalar = 5.0,
  rule_x: str = "dimension",
  rule_y: str = "median",
  rule_z: str = "dimension",
  epsilon: Scalar = 1e-5,
) -> Objective:
  """Adds the dependence of the code on the input to the loss, by kernels between examples.

  Formula: min E[-log q(y|z)] + beta HSIC(X, Z) - gamma HSIC(Y, Z), HSIC biased, over the batch.
  The first term is in nats; HSIC has no unit: "hsic" tr(K'L') / (n - 1)^2, "nhsic" and "cka" as in
  `ibjax.objectives.batch_kernels.dependence`. Kernels are exp(-||a - b||^2 / (2 s^2)), on labels
  1 where equal.

  Use it to compress a deterministic code without noise, bins or a bound. A width must suit the
  distances: "hsic" goes to 0 for one far too large or small, and "nhsic" to n - 1 as epsilon goes
  to 0, whatever the data. With a "median" width of z, scaling the code down gains nothing.
  With another, a deterministic code scaled far below its width has no dependence for the kernel and
  all of it for a decoder of large weights: add noise where the limit must hold.

  Args:
    beta: price of dependence on the input, >= 0; may be traced.
    gamma: reward of dependence on the label, >= 0; may be traced.
    form: "hsic", "nhsic" or "cka".
    width_x: s of the kernel on flattened inputs, > 0, times 1 ("fixed"), sqrt(d) ("dimension") or
      the batch's median distance ("median"); may be traced.
    width_y: the same of real-valued targets; labels have none.
    width_z: the same of codes.
    rule_x: which of these.
    rule_y: which of these.
    rule_z: which of these.
    epsilon: regularisation of "nhsic", > 0.

  Returns:
    An `Objective` with losses distortion_nats [n], and hsic_xz and hsic_yz, scalars without a
    unit, and the metric i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative weight, a width or epsilon that is not positive, an unknown form or
      rule, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.hsic_regularizer import hsic_regularizer
    >>> objective = hsic_regularizer(beta=0.1, form="cka")

  Source: Wang et al. 2021 (arXiv:2106.02734), the regularised loss with one layer, the code;
  Ma et al. 2020 (arXiv:1908.01580) for the terms and the width 5 sqrt(d).
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("gamma", gamma, 0.0)
  measure = hsic_terms(form, width_x, width_y, width_z, rule_x, rule_y, rule_z, epsilon)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    of_input, of_label = measure(outputs, batch)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "hsic_xz": Term(of_input, beta),
        "hsic_yz": Term(of_label, -gamma),
      },
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True, alone=form == "nhsic")


def hsic_terms(form, width_x, width_y, width_z, rule_x, rule_y, rule_z, epsilon):
  """Checks the keywords of `hsic_regularizer` and returns what measures a batch's code.

  Args:
    form: as there.
    width_x: as there.
    width_y: as there.
    width_z: as there.
    rule_x: as there.
    rule_y: as there.
    rule_z: as there.
    epsilon: as there.

  Returns:
    `measure(outputs, batch) -> (HSIC(X, Z), HSIC(Y, Z))`, scalars.

  Example:
    >>> from ibjax.objectives.kernel.hsic_regularizer import hsic_terms
    >>> measure = hsic_terms("hsic", 1.0, 1.0, 1.0, "fixed", "fixed", "fixed", 1e-5)
  """
  checks.one_of("form", form, batch_kernels.FORMS)
  checks.at_least("epsilon", epsilon, 0.0, strict=True)
  batch_kernels.check_width("x", width_x, rule_x)
  batch_kernels.check_width("y", width_y, rule_y)
  batch_kernels.check_width("z", width_z, rule_z)

  def measure(outputs, batch):
    mask = batch["mask"]
    of_x = batch_kernels.gaussian(batch["x"], mask, width_x, rule_x)
    of_y = batch_kernels.of_target(batch["y"], mask, width_y, rule_y)
    of_z = batch_kernels.gaussian(outputs.code.value, mask, width_z, rule_z)
    return tuple(batch_kernels.dependence(form, one, of_z, mask, epsilon) for one in (of_x, of_y))

  return measure


def _inputs():
  code = jnp.array([[0.0], [1.0]])
  return dict(
    outputs=Outputs(Code(code, None, None, {}), jnp.zeros((2, 2))),
    batch={"x": jnp.array([[0.0], [2.0]]), "y": jnp.array([0, 1]), "mask": jnp.ones(2, bool)},
    label_probs=jnp.array([0.5, 0.5]),
  )


X, Y, Z = 1 - math.exp(-2.0), 1.0, 1 - math.exp(-0.5)  # eigenvalues of the centred matrices


def _shrunk(eigenvalue: float, epsilon: float) -> float:
  return eigenvalue / (eigenvalue + 2 * epsilon)


ONES = dict(width_x=1.0, width_z=1.0)
CASES = (
  Case(
    name="two examples",
    hyper=dict(beta=0.5, gamma=0.25, form="hsic", **ONES),
    inputs=_inputs,
    expected=dict(
      distortion_nats=math.log(2),
      hsic_xz=X * Z,
      hsic_yz=Y * Z,
      i_yz_lower_nats=0.0,
      loss=math.log(2) + 0.5 * X * Z - 0.25 * Y * Z,
    ),
    source="closed form: centred 2 by 2 matrices have one eigenvalue, 1 - k",
  ),
  Case(
    name="two examples, normalised",
    hyper=dict(form="nhsic", epsilon=0.1, **ONES),
    inputs=_inputs,
    expected=dict(
      hsic_xz=_shrunk(X, 0.1) * _shrunk(Z, 0.1), hsic_yz=_shrunk(Y, 0.1) * _shrunk(Z, 0.1)
    ),
    source="closed form: the eigenvalues, shrunk",
  ),
  Case(
    name="two examples, alignment",
    hyper=dict(form="cka", **ONES),
    inputs=_inputs,
    expected=dict(hsic_xz=1.0, hsic_yz=1.0),
    source="closed form: one eigenvector",
  ),
  Case(
    name="beta = gamma = 0 is cross-entropy",
    hyper=dict(beta=0.0, gamma=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(2)),
    source="limit",
  ),
)
