"""Deterministic information bottleneck: pays for the entropy of the code, not its information.

Source: Strouse and Schwab 2017, "The deterministic information bottleneck" (Neural Computation
29:1611, arXiv:1604.00268).
"""

from __future__ import annotations

import math

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Objective, Scalar, Term, Terms
from ibjax.objectives import batch_entropy, batch_kernels
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.kernel.matrix_renyi_ib import _inputs, pair_entropy

LAGRANGIAN = Lagrangian(form="rate", penalty="H(Z)")


def deterministic_ib(
  beta: Scalar = 0.01,
  gamma: Scalar = 0.0,
  alpha: Scalar = 1.01,
  spectrum: str = "quadratic",
  width_x: Scalar = 0.5,
  width_z: Scalar = 1.0,
  rule_x: str = "median",
  rule_z: str = "dimension",
) -> Objective:
  """Charges a deterministic code for its own entropy, by the eigenvalues of its kernel matrix.

  Formula: min E[-log q(y|z)] + beta [H(Z) - gamma H(Z|X)], with H(Z) = S(K_z) and
  H(Z|X) = S(K_x o K_z) - S(K_x), S the matrix-based Renyi entropy of the batch (nats). gamma = 0
  is the deterministic bottleneck, gamma = 1 the information bottleneck with matrix-based
  information (`matrix_renyi_ib`), and between them lies the generalised one.

  The original is for discrete codes and Shannon's H, which a real-valued deterministic code has
  not: there is no unique translation. This one takes S, which counts the distinguishable states of
  the code at the scale of the kernel: exp(S) is about how many clusters a batch falls into. It
  differs from `matrix_renyi_ib` by not subtracting what x does not explain, so that it needs no
  kernel on x at gamma = 0. Use it to quantise a code softly, to few states. A code scaled far below
  its width is one state for the kernel, whatever a decoder of large weights reads from it: add
  noise where the limit must hold.

  Args:
    beta: price of a nat of entropy, >= 0; may be traced.
    gamma: share of the conditional entropy that is forgiven, in [0, 1]; may be traced. The source
      calls it alpha.
    alpha: order of "eigenvalues", > 0; may be traced, and 1 is the limit.
    spectrum: "quadratic" (alpha = 2, no eigenvalues) or "eigenvalues" (of order alpha).
    width_x: s of the kernel exp(-||a - b||^2 / (2 s^2)) on flattened inputs, > 0, times 1
      ("fixed"), sqrt(d) ("dimension") or the batch's median distance ("median"); may be traced.
    width_z: the same of codes: what is closer is one state.
    rule_x: which of these.
    rule_z: which of these.

  Returns:
    An `Objective` with losses distortion_nats [n] and entropy_z_nats (scalar, H(Z) less what is
    forgiven), and the metric i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, a gamma outside [0, 1], an order or width that is not positive, an
      unknown rule or spectrum, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.deterministic_ib import deterministic_ib
    >>> objective = deterministic_ib(beta=0.01)

  Source: Strouse and Schwab 2017 (arXiv:1604.00268), the deterministic and the generalised cost
  functions; the entropies are those of Sanchez Giraldo et al. 2015 (arXiv:1211.2459).
  """
  checks.at_least("beta", beta, 0.0)
  checks.between("gamma", gamma, 0.0, 1.0)
  batch_entropy.check_order(alpha, spectrum)
  batch_kernels.check_width("x", width_x, rule_x)
  batch_kernels.check_width("z", width_z, rule_z)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    mask = batch["mask"]
    of_x = batch_kernels.gaussian(batch["x"], mask, width_x, rule_x)
    of_z = batch_kernels.gaussian(outputs.code.value, mask, width_z, rule_z)
    x, z, both = (batch_entropy.renyi(k, alpha, spectrum) for k in (of_x, of_z, of_x * of_z))
    penalty = z - gamma * (both - x)
    return Terms(
      losses={"distortion_nats": Term(distortion), "entropy_z_nats": Term(penalty, beta)},
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True, alone=spectrum != "quadratic")


K, L = math.exp(-0.5), math.exp(-2.0)
CASES = tuple(
  Case(
    name=f"two examples, gamma = {gamma}",
    hyper=dict(beta=0.5, gamma=gamma, width_x=1.0, rule_x="fixed"),
    inputs=_inputs,
    expected=dict(
      loss=math.log(2)
      + 0.5 * (pair_entropy(L, 2.0) - gamma * (pair_entropy(K * L, 2.0) - pair_entropy(K, 2.0))),
    ),
    source="closed form: eigenvalues of 2 by 2 matrices",
  )
  for gamma in (0.0, 0.5, 1.0)
)
