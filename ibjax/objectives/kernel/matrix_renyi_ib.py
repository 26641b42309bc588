"""Deep deterministic information bottleneck with matrix-based Renyi mutual information.

Source: Yu, Yu and Principe 2021, "Deep deterministic information bottleneck with matrix-based
entropy functional" (ICASSP 2021, arXiv:2102.00533).
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives import batch_entropy, batch_kernels
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion

LAGRANGIAN = Lagrangian(form="rate", penalty="I_alpha(X;Z)")


def matrix_renyi_ib(
  beta: Scalar = 0.01,
  alpha: Scalar = 1.01,
  spectrum: str = "quadratic",
  width_x: Scalar = 0.5,
  width_z: Scalar = 1.0,
  rule_x: str = "median",
  rule_z: str = "dimension",
) -> Objective:
  """Charges a code for matrix-based Renyi information about the input, without noise or a bound.

  Formula: min E[-log q(y|z)] + beta I, I = S(K_x) + S(K_z) - S(K_x o K_z) in nats, with S the
  Renyi entropy of order alpha of the eigenvalues of a kernel matrix of the batch over its trace,
  and o the product of entries. Kernels are exp(-||a - b||^2 / (2 s^2)).

  Use it to compress a deterministic code. I resembles Shannon's information without being it: it
  lies in [0, log n] for n examples, set by the widths, so that rates compare at one n and one
  choice of widths. A code scaled far below its width has no information for the kernel and all of
  it for a decoder of large weights: add noise where the limit must hold. The paper takes s from
  distances to nearest neighbours in each batch.

  Args:
    beta: price of a nat, >= 0; may be traced.
    alpha: order of "eigenvalues", > 0; may be traced, and 1 is the limit.
    spectrum: "quadratic" (alpha = 2, no eigenvalues: costs a matrix product) or "eigenvalues"
      (of order alpha; O(n^3) at every step). The paper has 1.01.
    width_x: s of the kernel on flattened inputs, > 0, times 1 ("fixed"), sqrt(d) ("dimension") or
      the batch's median distance ("median"); may be traced.
    width_z: the same of codes.
    rule_x: which of these.
    rule_z: which of these. With "median" scaling the code down costs and gains nothing.

  Returns:
    An `Objective` with losses distortion_nats [n] and renyi_xz_nats (scalar), and the metrics
    renyi_z_nats (the code's entropy, scalar) and i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, an order or width that is not positive, an unknown rule or
      spectrum, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.matrix_renyi_ib import matrix_renyi_ib
    >>> objective = matrix_renyi_ib(beta=0.01)

  Source: Yu et al. 2021 (arXiv:2102.00533), the objective and the entropies (in bits there).
  """
  checks.at_least("beta", beta, 0.0)
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
    return Terms(
      losses={"distortion_nats": Term(distortion), "renyi_xz_nats": Term(x + z - both, beta)},
      metrics={"renyi_z_nats": z, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, alone=spectrum != "quadratic")


def _inputs():
  code = jnp.array([[0.0], [2.0]])
  return dict(
    outputs=Outputs(Code(code, None, None, {}), jnp.zeros((2, 2))),
    batch={
      "x": jnp.array([[0.0], [1.0]]),
      "y": jnp.array([0, 1]),
      "mask": jnp.ones(2, bool),
    },
    label_probs=jnp.array([0.5, 0.5]),
  )


def pair_entropy(k: float, alpha: float) -> float:
  """Renyi entropy of two examples: eigenvalues (1 + k) / 2 and (1 - k) / 2.

  Args:
    k: the kernel between them.
    alpha: order.

  Returns:
    Nats.
  """
  p = [0.5 * (1 + k), 0.5 * (1 - k)]
  if alpha == 1.0:
    return -sum(one * math.log(one) for one in p)
  return math.log(sum(one**alpha for one in p)) / (1 - alpha)


def _pair_information(alpha: float) -> float:
  k, l = math.exp(-0.5), math.exp(-2.0)  # noqa: E741
  return pair_entropy(k, alpha) + pair_entropy(l, alpha) - pair_entropy(k * l, alpha)


PLAIN = dict(width_x=1.0, rule_x="fixed")
CASES = (
  Case(
    name="two examples, alpha = 2",
    hyper=dict(beta=0.5, **PLAIN),
    inputs=_inputs,
    expected=dict(
      renyi_xz_nats=_pair_information(2.0), loss=math.log(2) + 0.5 * _pair_information(2.0)
    ),
    source="closed form: eigenvalues of 2 by 2 matrices",
  ),
  *(
    Case(
      name=f"two examples, alpha = {alpha}",
      hyper=dict(alpha=alpha, spectrum="eigenvalues", **PLAIN),
      inputs=_inputs,
      expected=dict(renyi_xz_nats=_pair_information(alpha)),
      source="closed form: eigenvalues of 2 by 2 matrices",
      rtol=1e-4,
    )
    for alpha in (0.5, 1.0, 1.01, 2.0)
  ),
  Case(
    name="beta = 0 is cross-entropy",
    hyper=dict(beta=0.0),
    inputs=_inputs,
    expected=dict(loss=math.log(2)),
    source="limit",
  ),
)
