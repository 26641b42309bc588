"""Cauchy-Schwarz divergence information bottleneck (CS-IB).

Source: Yu, Yu, Lokse, Jenssen and Principe 2024, "Cauchy-Schwarz divergence information bottleneck
for regression" (ICLR 2024, arXiv:2404.17951).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives import batch_kernels
from ibjax.objectives.batch_kernels import at_least_float32
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion

LAGRANGIAN = Lagrangian(form="rate", penalty="I_CS(X;Z)")


def cauchy_schwarz_ib(
  beta: Scalar = 0.01,
  normalised: bool = True,
  width_x: Scalar = 0.25,
  width_y: Scalar = 1.0,
  width_z: Scalar = 1.0,
  rule_x: str = "median",
  rule_z: str = "fixed",
) -> Objective:
  """Fits predictions and limits a code by Cauchy-Schwarz divergences: no bound, no Gaussian.

  Formula: min D_CS(p(y|x); q(p|x)) + beta I_CS(X;Z), p the prediction. With kernels K on x, L on
  y, p and between them, s(L) = sum_j [sum_i K_ji L_ji] / [sum_i K_ji]^2 and
  D_CS = log s(L_yy) + log s(L_pp) - 2 log s(L_py), in nats (the paper's are in bits); I_CS is the
  Cauchy-Schwarz quadratic mutual information in nats, or its ratio to sqrt(I(x;x) I(z;z))
  (`normalised`), as the paper trains with. The ratio is 1 for z = x, 0 for a constant z, and no
  cosine: it may exceed 1 a little. Labels are one-hot vectors and p their probabilities.

  Use it for regression with noise that is not Gaussian. The kernel on x decides which examples
  have "the same" x: far too wide, it compares p(y) with q(p) alone and the predictions need not
  fit their own x; narrow beside all distances, D_CS is the sum of nearest-neighbour terms
  -2 log mean_j exp(-(y_j - p_j)^2 / (2 s^2)) (correntropy). The paper has width 1 on 8
  standardised inputs, a quarter of the median distance, which is the default here whatever d is.

  On samples D_CS is no divergence: its weights are not symmetric, so that it may be negative, and
  a wide kernel on x shrinks the predictions. For y = 0.9 x + noise, both standard normal, the best
  linear predictor has slope 0.64 at width 1, 0.85 at 0.25 and 0.89 at 0.1 (closed form, of the
  population, width 1 on y).

  The predictions have no density. So that evaluation has one, its covariance (of targets) is
  fitted by distortion_nats, which moves nothing else: it reads the predictions without a gradient.
  beta = 0 is therefore the divergence alone, not cross-entropy.

  Args:
    beta: price of the dependence on the input, >= 0; may be traced.
    normalised: the ratio in place of I_CS itself.
    width_x: s of the kernel exp(-||a - b||^2 / (2 s^2)) on flattened inputs, > 0, times 1
      ("fixed"), sqrt(d) ("dimension") or the batch's median distance ("median"); may be traced.
    width_y: s on targets and predictions, in their units (one-hot vectors of labels); may be
      traced.
    width_z: the same as width_x, of codes.
    rule_x: which of the three.
    rule_z: which of the three.

  Returns:
    An `Objective` with losses distortion_nats [n], and cs_prediction_nats and cs_xz_nats, or
    cs_xz_ratio if normalised, scalars, and the metric i_yz_lower_nats (average, nats).

  Raises:
    InputError: a negative beta, a width that is not positive, an unknown rule, predictions or
      targets that do not fit.

  Example:
    >>> from ibjax.objectives.kernel.cauchy_schwarz_ib import cauchy_schwarz_ib
    >>> objective = cauchy_schwarz_ib(beta=0.01)

  Source: Yu et al. 2024 (arXiv:2404.17951), the empirical estimators of the conditional divergence
  and of CS-QMI, whose denominators are squares of sums (not sums of squares, as in released code).
  """
  checks.at_least("beta", beta, 0.0)
  batch_kernels.check_width("x", width_x, rule_x)
  checks.at_least("width_y", width_y, 0.0, strict=True)
  batch_kernels.check_width("z", width_z, rule_z)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    prediction, y, mask = at_least_float32(outputs.prediction), batch["y"], batch["mask"]
    distortion = distortion_nats(params, jax.lax.stop_gradient(prediction), y)
    if jnp.issubdtype(y.dtype, jnp.integer):
      prediction = jax.nn.softmax(prediction)
      y = jax.nn.one_hot(y, prediction.shape[1])
    of_x = batch_kernels.gaussian(batch["x"], mask, width_x, rule_x)
    of_z = batch_kernels.gaussian(outputs.code.value, mask, width_z, rule_z)
    fit = batch_kernels.conditional_cauchy_schwarz(of_x, y, prediction, width_y, mask)
    if normalised:
      penalty = {"cs_xz_ratio": Term(batch_kernels.cauchy_schwarz_ratio(of_x, of_z, mask), beta)}
    else:
      penalty = {"cs_xz_nats": Term(batch_kernels.cauchy_schwarz(of_x, of_z, mask), beta)}
    return Terms(
      losses={"distortion_nats": Term(distortion), "cs_prediction_nats": Term(fit), **penalty},
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True)


def _inputs():
  code = jnp.array([[0.0], [2.0]])
  return dict(
    outputs=Outputs(Code(code, None, None, {}), jnp.array([[0.0], [3.0]])),
    batch={"x": jnp.array([[0.0], [1.0]]), "y": jnp.ones((2, 1)), "mask": jnp.ones(2, bool)},
    target_entropy_nats=3.0,
  )


def _information(a: float, b: float) -> float:
  return math.log((1 + a * b) / 2) - math.log((1 + a) * (1 + b) / 4)


K, L = math.exp(-0.5), math.exp(-2.0)
FIT = (
  math.log(1 + K)
  + math.log(1 + K * math.exp(-4.5))
  - 2 * math.log((1 + K) * (math.exp(-0.5) + math.exp(-2.0)) / 2)
)
# Of x, z at 1 and 2 from each other, and of y, p at (1, 1) and (0, 3).
PLAIN = dict(width_x=1.0, rule_x="fixed")
CASES = (
  Case(
    name="two examples",
    hyper=dict(beta=0.5, normalised=False, **PLAIN),
    inputs=_inputs,
    expected=dict(
      cs_prediction_nats=FIT,
      cs_xz_nats=_information(K, L),
      distortion_nats=0.5 * math.log(2 * math.pi) + 0.25 * (1.0 + 4.0),
    ),
    source="closed form: both rows of K sum to 1 + k",
  ),
  Case(
    name="two examples, the ratio",
    hyper=dict(beta=0.5, **PLAIN),
    inputs=_inputs,
    expected=dict(
      cs_xz_ratio=_information(K, L) / math.sqrt(_information(K, K) * _information(L, L))
    ),
    source="closed form",
    rtol=1e-4,
  ),
)
