"""Contrastive variational bottleneck with a self-pruned twin (CVIB).

Source: Chang et al. 2023, "Contrastive variational information bottleneck for aspect-based
sentiment analysis" (arXiv:2303.02846).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.contrast import contrast_nats
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian(form="rate", penalty="penalty of the gates")
# What the generic tests give beside a Gaussian code with these means.
AUX = {"twin": lambda mean: 0.5 * mean + 1.0}


def cvib(beta: Scalar = 1e-3, contrast: Scalar = 0.1, temperature: Scalar = 0.1) -> Objective:
  """Trains a network and a self-pruned copy together, and holds their codes of an input together.

  Formula: min E[-log q(y|z)] + E[-log q'(y|z')] + beta KL_gates + contrast L,
  L = -E_i log [exp(cos(z_i, z'_i) / temperature) / sum_j exp(cos(z_i, z'_j) / temperature)], j
  over the batch; z of the pruned network, z' of the original, nats. The paper trains the two by
  turns with the other one's code held fixed; each one's gradient is that of this sum. At equal
  twins whose codes of different inputs are far apart against the temperature, L goes to 0.

  Use it when a network is suspected of shortcuts: the twin that pays for its units keeps fewer of
  them, and the contrast hands that on. Encoder `ibjax.models.twin_mlp`, bottleneck
  `ibjax.bottlenecks.twin`; the decoder reads the pruned code, and the original network has a
  linear head among the objective's parameters.

  Args:
    beta: price of a nat of the gates' penalty, >= 0; may be traced.
    contrast: weight of L, >= 0; may be traced.
    temperature: of the cosines, > 0; may be traced.

  Returns:
    An `Objective` that couples examples, with losses distortion_nats and twin_distortion_nats
    [n], contrastive_nats and gate_kl_nats (scalars; an example's penalty, over all gates), and the
    metric i_yz_lower_nats (average, nats).

  Raises:
    InputError: a weight out of range, no twin or no gates, predictions or targets that do not
      fit.

  Example:
    >>> from ibjax.objectives.structured.cvib import cvib
    >>> objective = cvib(beta=1e-3, contrast=0.1)

  Source: Chang et al. 2023 (arXiv:2303.02846), the overall objectives of both networks; form and
  direction of L, with cosines, as the published code has them.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("contrast", contrast, 0.0)
  checks.at_least("temperature", temperature, 0.0, strict=True)

  def init(key, spec):
    params, state = init_distortion(spec)
    out = spec.target_dim or spec.label_probs.shape[0]
    normal = jax.nn.initializers.lecun_normal()
    kernel = normal(rng.stream(key, "head"), (spec.code_dim, out))
    return {**params, "head": {"kernel": kernel, "bias": jnp.zeros(out)}}, state

  def loss(params, state, outputs, batch, key, step):
    other = require("cvib", outputs, "twin")
    if outputs.parameter_kl is None:
      raise InputError(
        "cvib needs an encoder with gates that pay; this one has none. Use "
        "config.encoder.fn='ibjax.models.twin_mlp:twin_mlp'."
      )
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    head = params["head"]
    twin = distortion_nats(params, other @ head["kernel"] + head["bias"], batch["y"])
    scores = _unit(outputs.code.value) @ _unit(other).T / temperature
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "twin_distortion_nats": Term(twin),
        "gate_kl_nats": Term(outputs.parameter_kl, beta),
        "contrastive_nats": Term(contrast_nats(scores, batch["mask"]), contrast),
      },
      metrics=information_bound(state, distortion),
      state=state,
    )

  return Objective(init, loss, couples=True)


def _unit(z):
  # A code of zeros, which a pruned layer can give, has no direction: its cosines are 0.
  return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(z), axis=-1, keepdims=True), 1e-12))


def _inputs():
  code = Code(value=2.0 * jnp.eye(3), rate=None, bits=None, aux={"twin": jnp.eye(3)})
  return dict(
    outputs=Outputs(code, jnp.zeros((3, 4)), parameter_kl=jnp.float32(5.0)),
    batch={"y": jnp.array([2, 0, 1]), "mask": jnp.ones(3, bool)},
    params={"head": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="orthogonal codes of equal twins",
    hyper=dict(beta=0.1, contrast=0.5, temperature=0.5),
    inputs=_inputs,
    expected=dict(
      contrastive_nats=math.log1p(2 * math.exp(-2.0)),
      loss=2 * math.log(4) + 0.5 + 0.5 * math.log1p(2 * math.exp(-2.0)),
    ),
    source="closed form: cosines 1 and 0, so log(1 + 2 e^-2)",
  ),
  Case(
    name="equal twins, cold",
    hyper=dict(beta=0.0, contrast=1.0, temperature=0.01),
    inputs=_inputs,
    expected=dict(contrastive_nats=0.0, loss=2 * math.log(4)),
    source="limit: no contrastive gap",
  ),
)
