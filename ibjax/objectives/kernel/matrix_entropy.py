"""Representation-entropy regularisation: matrix-based entropy of the codes of a batch (IBLM).

Source: Yu 2025, "Memorization-compression cycles improve generalization" (arXiv:2505.08727).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives import batch_entropy
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion

LAGRANGIAN = Lagrangian(form="rate", penalty="S(Z)")


def matrix_entropy(
  beta: Scalar = 0.1,
  alpha: Scalar = 1.01,
  spectrum: str = "quadratic",
  centred: bool = False,
) -> Objective:
  """Charges for the number of directions that the codes of a batch fill.

  Formula: min E[-log q(y|z)] + beta S(Z), S the Renyi entropy of order alpha of the eigenvalues of
  Z Z^T / tr(Z Z^T), in nats; at alpha = 2 it is -log(||Z Z^T||_F^2 / (tr Z Z^T)^2).

  exp(S) is an effective rank: S lies in [0, log min(n, d)] and does not change when codes are
  scaled or turned, so that it limits directions and not information: a code that is one number
  along one direction has S = 0. Use it to make representations low-dimensional; add noise to the
  code for a limit on information. The paper's Z are the tokens of a sequence in a layer of a
  language model; here they are the codes of a batch, one row per example.

  Args:
    beta: price of a nat, >= 0; may be traced.
    alpha: order of "eigenvalues", > 0; may be traced, and 1 is the limit (the paper's).
    spectrum: "quadratic" (alpha = 2, no eigenvalues) or "eigenvalues" (of order alpha).
    centred: take the batch's mean code away first. Without it (the paper's), a common offset of
      all codes is a direction, and lowers S.

  Returns:
    An `Objective` with losses distortion_nats [n] and entropy_z_nats (scalar), and the metric
    i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, an order that is not positive, an unknown spectrum, predictions or
      targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.matrix_entropy import matrix_entropy
    >>> objective = matrix_entropy(beta=0.1)

  Source: Yu 2025 (arXiv:2505.08727), matrix-based entropy and the information bottleneck language
  modeling objective, as a Lagrangian.
  """
  checks.at_least("beta", beta, 0.0)
  batch_entropy.check_order(alpha, spectrum)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    entropy = batch_entropy.of_rows(outputs.code.value, batch["mask"], alpha, spectrum, centred)
    return Terms(
      losses={"distortion_nats": Term(distortion), "entropy_z_nats": Term(entropy, beta)},
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True, alone=spectrum != "quadratic")


def inputs(code=((3.0, 0.0), (0.0, 1.0))):
  """Two examples with these codes, for the cases of methods on codes alone.

  Args:
    code: the codes of both.

  Returns:
    What a case's inputs are.
  """
  code = jnp.array(code)
  return dict(
    outputs=Outputs(Code(code, None, None, {}), jnp.zeros((2, 2))),
    batch={"x": code, "y": jnp.array([0, 1]), "mask": jnp.ones(2, bool)},
    label_probs=jnp.array([0.5, 0.5]),
  )


CASES = (
  Case(
    name="two orthogonal codes of squared lengths 9 and 1, alpha = 2",
    hyper=dict(beta=0.5),
    inputs=inputs,
    expected=dict(entropy_z_nats=-math.log(0.82), loss=math.log(2) - 0.5 * math.log(0.82)),
    source="closed form: eigenvalues 0.9 and 0.1",
  ),
  Case(
    name="the same, alpha = 1",
    hyper=dict(alpha=1.0, spectrum="eigenvalues"),
    inputs=inputs,
    expected=dict(entropy_z_nats=-0.9 * math.log(0.9) - 0.1 * math.log(0.1)),
    source="closed form: Shannon entropy of the eigenvalues",
  ),
  Case(
    name="one direction",
    hyper=dict(beta=0.5),
    inputs=lambda: inputs(((1.0, 2.0), (-2.0, -4.0))),
    expected=dict(entropy_z_nats=0.0, loss=math.log(2)),
    source="closed form: one eigenvalue",
    rtol=0.3,
  ),
)
