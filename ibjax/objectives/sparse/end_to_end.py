"""End-to-end training of a dictionary: the model's output is kept, not its activations.

Source: Braun et al. 2024, "Identifying functionally important features with end-to-end sparse
dictionary learning" (arXiv:2405.12241).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Array, Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import cross_entropy_nats, information_bound
from ibjax.objectives.needs import require

LAGRANGIAN = Lagrangian(form="rate", penalty="the activity of latents")

# What this needs of a code beside its value.
AUX = {
  "sparsity": lambda mean: jnp.sum(jnp.abs(mean), axis=-1),
  "l0": lambda mean: jnp.sum(mean > 0, axis=-1, dtype=jnp.float32),
  "revival": lambda mean: jnp.sum(jnp.square(mean), axis=-1),
}


def end_to_end(
  beta: Scalar = 0.0,
  revival: Scalar = 1.0 / 32.0,
  auxiliary: Scalar = 1.0,
  local: Scalar | None = None,
) -> Objective:
  """Keeps what the model says after its activations went through the dictionary.

  Formula: min E[KL(softmax(y) || softmax(prediction))] + beta E[sparsity] + revival E[revival] +
  auxiliary E[auxiliary] + local E|x - value|^2. y [n, c] are the logits that the model gives
  without the splice, the prediction those that it gives when the reconstruction takes the place of
  the activation x. With integer labels the first term is -log softmax(prediction), the model's own
  loss. KL in nats.

  Use it with the rest of the model as decoder, its weights in the decoder's state so that they do
  not move (`ibjax.models.readout` is a small such model), and a source whose target is the
  model's logits. `local` keeps the reconstruction near the activation too.

  Args:
    beta: price of activity, >= 0; may be traced.
    revival: weight of the term for dead latents, >= 0; may be traced.
    auxiliary: weight of a bottleneck's own further errors, >= 0; may be traced.
    local: weight of the activation's squared error, >= 0, for which the code must be as wide as
      the input; may be traced. None leaves it out.

  Returns:
    An `Objective` with the losses kl_nats (of labels distortion_nats), sparsity, revival, local
    and auxiliary [n] as far as there are such, and the metric l0 [n].

  Raises:
    InputError: a negative weight, a code without these, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.sparse.end_to_end import end_to_end
    >>> objective = end_to_end(local=0.1)

  Source: Braun et al. 2024 (arXiv:2405.12241), from memory: the KL between the output
  distributions, with the penalty beside it.
  """
  weights = dict(beta=beta, revival=revival, auxiliary=auxiliary, local=local)
  for name, value in weights.items():
    checks.at_least(name, 0.0 if value is None else value, 0.0)

  def init(key, spec):
    return {}, {} if spec.target_dim else {"label_probs": spec.label_probs}

  def loss(params, state, outputs, batch, key, step):
    sparsity, l0, revived = (
      require("end_to_end", outputs, name) for name in ("sparsity", "l0", "revival")
    )
    y, metrics = batch["y"], {"l0": l0}
    if jnp.issubdtype(y.dtype, jnp.integer):
      distortion = cross_entropy_nats(outputs.prediction, y)
      losses = {"distortion_nats": Term(distortion)}
      metrics |= information_bound(state, distortion)
    else:
      losses = {"kl_nats": Term(kl_nats(y, outputs.prediction))}
    losses |= {"sparsity": Term(sparsity, beta), "revival": Term(revived, revival)}
    if "auxiliary" in outputs.code.aux:
      losses["auxiliary"] = Term(outputs.code.aux["auxiliary"], auxiliary)
    if local is not None:
      x = batch["x"].reshape(batch["x"].shape[0], -1)
      checks.shape("code, for the local error of the input,", outputs.code.value, x.shape)
      square = jnp.sum(jnp.square(x.astype(jnp.float32) - outputs.code.value), axis=-1)
      losses["local"] = Term(square, local)
    return Terms(losses=losses, metrics=metrics, state=state)

  return Objective(init, loss)


def kl_nats(logits: Array, spliced: Array) -> Array:
  """KL divergence of the spliced model's distribution from the model's own.

  Formula: sum_c p_c (log p_c - log q_c), p = softmax(logits), q = softmax(spliced).

  Args:
    logits: [n, c] without the splice.
    spliced: [n, c] with it.

  Returns:
    [n] in nats, in float32 whatever the compute type.

  Raises:
    InputError: shapes that differ.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.sparse.end_to_end import kl_nats
    >>> float(kl_nats(jnp.array([[1.0, 2.0]]), jnp.array([[2.0, 3.0]]))[0])
    0.0
  """
  checks.shape("logits with the splice", spliced, ("n", "c"))
  checks.shape("logits without the splice", logits, spliced.shape)
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  log_q = jax.nn.log_softmax(spliced.astype(jnp.float32))
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


CASES = (
  Case(
    name="from odds of 3 to 1 to even ones",
    hyper=dict(beta=0.5, revival=0.0),
    inputs=lambda: dict(
      outputs=Outputs(
        Code(
          jnp.zeros((1, 3)),
          None,
          None,
          {"sparsity": jnp.array([4.0]), "l0": jnp.array([1.0]), "revival": jnp.array([9.0])},
        ),
        jnp.zeros((1, 2)),
      ),
      batch={"y": jnp.array([[math.log(3.0), 0.0]])},
    ),
    expected=dict(
      kl_nats=0.75 * math.log(1.5) + 0.25 * math.log(0.5),
      loss=2.0 + 0.75 * math.log(1.5) + 0.25 * math.log(0.5),
    ),
    source="closed form",
  ),
)
