"""Plain cross-entropy, with label smoothing and the confidence penalty as options.

Source: label smoothing, Szegedy et al. 2016 (arXiv:1512.00567); confidence penalty, Pereyra et
al. 2017 (arXiv:1701.06548).
"""

from __future__ import annotations

import math

import jax
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

LAGRANGIAN = Lagrangian("none", "nothing")


def cross_entropy(label_smoothing: Scalar = 0.0, confidence_penalty: Scalar = 0.0) -> Objective:
  """Minimises the decoder's negative log likelihood; the code's rate is not paid for.

  Use it as what the others are measured against, with a deterministic code or a learned noise that
  nothing keeps up; with its options, for the classical regularisers.

  Formula: (1 - a) E[-log q(y|z)] + a E[-1/c sum_k log q(k|z)] - w H(q(.|z)). For real-valued
  targets E[-log q(y|z)], with q a Gaussian of learned covariance; a and w must be 0.

  Args:
    label_smoothing: a in [0, 1), the share of the target spread evenly over the c classes.
    confidence_penalty: w >= 0, weight of the entropy of the prediction, which is maximised.

  Returns:
    An `Objective` with losses distortion_nats, smoothing_nats and confidence_nats [n], of which
    targets have the first.

  Raises:
    InputError: a hyperparameter outside its range, or not 0 for targets; predictions, labels or
      targets that do not fit.

  Example:
    >>> from ibjax.objectives.supervised.cross_entropy import cross_entropy
    >>> objective = cross_entropy(label_smoothing=0.1)

  Source: Szegedy et al. 2016 (arXiv:1512.00567), section 7; Pereyra et al. 2017
  (arXiv:1701.06548), eq. 2.
  """
  checks.between("label_smoothing", label_smoothing, 0.0, 1.0, open_high=True)
  checks.at_least("confidence_penalty", confidence_penalty, 0.0)

  def init(key, spec):
    for name, value in (("smoothing", label_smoothing), ("confidence", confidence_penalty)):
      if checks.is_concrete(value) and value != 0:
        refuse_targets("cross_entropy", f"has a {name} option that is for classes", spec)
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    bound = information_bound(state, distortion)
    if "label_probs" not in state:
      return Terms(losses={"distortion_nats": Term(distortion)}, metrics=bound, state=state)
    log_probs = jax.nn.log_softmax(outputs.prediction.astype(jnp.float32))
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    return Terms(
      losses={
        "distortion_nats": Term(distortion, 1.0 - label_smoothing),
        "smoothing_nats": Term(-jnp.mean(log_probs, axis=-1), label_smoothing),
        "confidence_nats": Term(-entropy, confidence_penalty),
      },
      metrics=bound,
      state=state,
    )

  return Objective(init, loss)


def _inputs():
  logits = jnp.log(jnp.array([[0.8, 0.2]]))
  code = Code(value=jnp.zeros((1, 1)), rate=None, bits=None, aux={})
  return dict(
    outputs=Outputs(code, logits),
    batch={"y": jnp.array([0])},
    label_probs=jnp.array([0.5, 0.5]),
  )


CASES = (
  Case(
    name="two classes",
    hyper=dict(label_smoothing=0.1, confidence_penalty=0.5),
    inputs=_inputs,
    expected=dict(
      distortion_nats=-math.log(0.8),
      smoothing_nats=-(math.log(0.8) + math.log(0.2)) / 2,
      confidence_nats=0.8 * math.log(0.8) + 0.2 * math.log(0.2),
      i_yz_lower_nats=math.log(2) + math.log(0.8),
      loss=0.9 * -math.log(0.8)
      - 0.1 * (math.log(0.8) + math.log(0.2)) / 2
      + 0.5 * (0.8 * math.log(0.8) + 0.2 * math.log(0.2)),
    ),
    source="by hand from the formula",
  ),
)
