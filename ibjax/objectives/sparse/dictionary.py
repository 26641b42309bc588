"""Reconstruction by a sparse dictionary, with a price on activity and a term for dead latents.

Source: Bricken et al. 2023, "Towards monosemanticity" (transformer-circuits.pub), the penalty; Gao
et al. 2024 (arXiv:2406.04093), the auxiliary term.
"""

from __future__ import annotations

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


def dictionary(
  beta: Scalar = 0.0, revival: Scalar = 1.0 / 32.0, auxiliary: Scalar = 1.0
) -> Objective:
  """Reconstructs the target from few latents of a dictionary.

  Formula: min E|y - prediction|^2 + beta E[sparsity] + revival E[revival] + auxiliary E[auxiliary].
  What stands in brackets is the bottleneck's (`ibjax.bottlenecks.sparse`): "sparsity" is the L1
  norm of its latents, or their number (JumpReLU); "revival" the error of what dead latents make of
  the residual; "auxiliary" the gate's own reconstruction (Gated) or the errors of the shorter
  prefixes (Matryoshka), where there are such. Squared errors are summed over dimensions, not
  averaged, and have the unit of y squared. Labels are scored by -log softmax(prediction), in nats.

  Use it for every sparse autoencoder, with a source "autoencode:SOURCE". With a number of active
  latents that is given (TopK and its kin) beta is 0. A beta that starts with the training kills
  latents before they mean anything: raise it by config.beta_schedule.

  Args:
    beta: price of activity, >= 0; may be traced.
    revival: weight of the term for dead latents, >= 0; may be traced.
    auxiliary: weight of a bottleneck's own further errors, >= 0; may be traced.

  Returns:
    An `Objective` with the losses distortion, sparsity, revival and auxiliary [n], of which a
    bottleneck without the last has three, and the metrics l0 [n] and, for targets, fvu [n], the
    fraction of variance unexplained: the squared error over the batch's variance of y.

  Raises:
    InputError: a negative weight, a code without these, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.sparse.dictionary import dictionary
    >>> objective = dictionary(beta=0.1)

  Source: Bricken et al. 2023, the penalty; Gao et al. 2024 (arXiv:2406.04093), appendix A.2, the
  auxiliary term and its weight 1/32.
  """
  for name, value in (("beta", beta), ("revival", revival), ("auxiliary", auxiliary)):
    checks.at_least(name, value, 0.0)

  def init(key, spec):
    return {}, {} if spec.target_dim else {"label_probs": spec.label_probs}

  def loss(params, state, outputs, batch, key, step):
    sparsity, l0, revived = (
      require("dictionary", outputs, name) for name in ("sparsity", "l0", "revival")
    )
    distortion, metrics = distortion_of(outputs.prediction, batch["y"], batch["mask"])
    losses = {
      "distortion": Term(distortion),
      "sparsity": Term(sparsity, beta),
      "revival": Term(revived, revival),
    }
    if "auxiliary" in outputs.code.aux:
      losses["auxiliary"] = Term(outputs.code.aux["auxiliary"], auxiliary)
    bound = information_bound(state, distortion) if "label_probs" in state else {}
    return Terms(losses=losses, metrics={"l0": l0, **metrics, **bound}, state=state)

  return Objective(init, loss)


def distortion_of(prediction: Array, y: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
  """The error of a reconstruction, or the negative log likelihood of labels.

  Args:
    prediction: [n, t], or [n, c] logits.
    y: [n, t] targets, or [n] integer labels.
    mask: [n] bool, True where an example counts.

  Returns:
    (squared error summed over dimensions, or nats [n]; {"fvu": [n]} for targets).

  Raises:
    InputError: shapes that do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.sparse.dictionary import distortion_of
    >>> y, mask = jnp.array([[1.0], [3.0]]), jnp.ones(2, bool)
    >>> distortion_of(jnp.array([[1.5], [3.0]]), y, mask)[1]["fvu"].tolist()
    [0.25, 0.0]
  """
  if jnp.issubdtype(y.dtype, jnp.integer):
    return cross_entropy_nats(prediction, y), {}
  checks.shape("prediction", prediction, ("n", "t"))
  checks.shape("target", y, prediction.shape)
  y = y.astype(jnp.float32)
  square = jnp.sum(jnp.square(y - prediction.astype(jnp.float32)), axis=-1)
  return square, {"fvu": square / jnp.maximum(_variance(y, mask), 1e-12)}


def _variance(y: Array, mask: Array) -> Array:
  """Mean squared distance of the rows that count from their mean."""
  y = jnp.where(mask[:, None], y, 0.0)
  count = jnp.maximum(jnp.sum(mask), 1)
  spread = jnp.where(mask[:, None], y - jnp.sum(y, axis=0) / count, 0.0)
  return jnp.sum(jnp.square(spread)) / count


def _inputs(**more):
  aux = {name: jnp.array([value]) for name, value in more.items()}
  code = Code(value=jnp.zeros((1, 2)), rate=None, bits=None, aux=aux)
  outputs = Outputs(code, jnp.array([[1.0, 2.0]]))
  return dict(outputs=outputs, batch={"y": jnp.array([[0.0, 0.0]])})


CASES = (
  Case(
    name="three terms and their weights",
    hyper=dict(beta=0.5, revival=0.25),
    inputs=lambda: _inputs(sparsity=3.0, l0=2.0, revival=8.0),
    expected=dict(distortion=5.0, l0=2.0, loss=5.0 + 1.5 + 2.0),
    source="by hand",
  ),
  Case(
    name="a bottleneck's own further errors",
    hyper=dict(revival=0.0, auxiliary=2.0),
    inputs=lambda: _inputs(sparsity=3.0, l0=2.0, revival=8.0, auxiliary=7.0),
    expected=dict(loss=5.0 + 14.0),
    source="by hand",
  ),
)
