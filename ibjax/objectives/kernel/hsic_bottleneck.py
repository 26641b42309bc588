"""HSIC bottleneck: dependence on the input against dependence on the label, by kernels.

Source: Ma, Lewis and Kleijn 2020, "The HSIC bottleneck: deep learning without back-propagation"
(AAAI 2020, arXiv:1908.01580).
"""

from __future__ import annotations

import math

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Objective, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.kernel.hsic_regularizer import ONES, X, Y, Z, _inputs, hsic_terms

LAGRANGIAN = Lagrangian(form="information", penalty="nHSIC(X;Z)")


def hsic_bottleneck(
  beta: Scalar = 100.0,
  form: str = "nhsic",
  width_x: Scalar = 5.0,
  width_y: Scalar = 1.0,
  width_z: Scalar = 5.0,
  rule_x: str = "dimension",
  rule_y: str = "median",
  rule_z: str = "dimension",
  epsilon: Scalar = 1e-5,
) -> Objective:
  """Trains a representation to depend on the label and not on the rest of the input.

  Formula: min nHSIC(X, Z) - beta nHSIC(Y, Z) + E[-log q(y|z)], nHSIC = tr(A B) over the batch with
  A = K' (K' + epsilon n I)^-1 of the centred kernel matrix K' of one, B of the other. beta
  multiplies the dependence on the label; nHSIC has no unit, the last term is in nats and only
  there to train the decoder. Kernels are exp(-||a - b||^2 / (2 s^2)), s = 5 sqrt(d); on labels 1
  where equal.

  Use it to train an encoder without cross-entropy. Set `config.train.probe = True`, so that the
  decoder reads the code without moving it: the paper's "format" layer, trained beside the encoder
  and not after it. Without it cross-entropy moves the encoder too; for that use
  `hsic_regularizer`, whose betas are prices. The paper trains layer by layer, each block by its
  own loss: here the encoder is one block, trained end to end on the code.

  Args:
    beta: weight of dependence on the label, >= 0; may be traced.
    form: "nhsic" (the paper's experiments), "hsic" or "cka", see
      `ibjax.objectives.batch_kernels.dependence`.
    width_x: s of the kernel on flattened inputs, > 0, times 1 ("fixed"), sqrt(d) ("dimension") or
      the batch's median distance ("median"); may be traced.
    width_y: the same of real-valued targets; labels have none.
    width_z: the same of codes.
    rule_x: which of these.
    rule_y: which of these.
    rule_z: which of these.
    epsilon: regularisation of "nhsic", > 0. Towards 0 the value goes to n - 1, whatever the data.

  Returns:
    An `Objective` with losses distortion_nats [n], and hsic_xz and hsic_yz, scalars without a
    unit, and the metric i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, a width or epsilon that is not positive, an unknown form or rule,
      predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.hsic_bottleneck import hsic_bottleneck
    >>> objective = hsic_bottleneck(beta=100.0)

  Source: Ma et al. 2020 (arXiv:1908.01580), the objective of section 3 and its normalised form.
  """
  checks.at_least("beta", beta, 0.0)
  measure = hsic_terms(form, width_x, width_y, width_z, rule_x, rule_y, rule_z, epsilon)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    of_input, of_label = measure(outputs, batch)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "hsic_xz": Term(of_input),
        "hsic_yz": Term(of_label, -beta),
      },
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True, alone=form == "nhsic")


CASES = (
  Case(
    name="two examples",
    hyper=dict(beta=2.0, form="hsic", **ONES),
    inputs=_inputs,
    expected=dict(hsic_xz=X * Z, hsic_yz=Y * Z, loss=math.log(2) + X * Z - 2.0 * Y * Z),
    source="closed form: centred 2 by 2 matrices have one eigenvalue, 1 - k",
  ),
)
