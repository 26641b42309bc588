"""Reconstruction by a sparse dictionary, with a price on activity and a term for dead latents.

Source: Bricken et al. 2023, "Towards monosemanticity" (transformer-circuits.pub), the penalty; Gao
et al. 2024 (arXiv:2406.04093), the auxiliary term.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Array, Case, Code, Objective, Outputs, Scalar, Term, Terms, Tree
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
    fraction of variance unexplained: the squared error over the total variance of y. That is the
    variance over all training batches so far, which the state holds, so that a small batch of
    evaluation is measured as a large one is; before the first, it is the batch's own.

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
    if spec.target_dim:
      return {}, {"targets": moments(spec.target_dim)}
    return {}, {"label_probs": spec.label_probs}

  def loss(params, state, outputs, batch, key, step):
    sparsity, l0, revived = (
      require("dictionary", outputs, name) for name in ("sparsity", "l0", "revival")
    )
    distortion, metrics = distortion_of(outputs.prediction, batch["y"]), {}
    if "targets" in state:
      old, seen = state["targets"], add_moments(state["targets"], batch["y"], batch["mask"])
      # Evaluation keeps no state; so that both divide alike, a batch counts from the next one on.
      known = jnp.where(old["count"] > 0, old["variance"], seen["variance"])
      metrics = {"fvu": distortion / jnp.maximum(known, 1e-12)}
      state = {"targets": jax.lax.stop_gradient(seen)}
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


def distortion_of(prediction: Array, y: Array) -> Array:
  """The error of a reconstruction, or the negative log likelihood of labels.

  Args:
    prediction: [n, t], or [n, c] logits.
    y: [n, t] targets, or [n] integer labels.

  Returns:
    Squared error summed over dimensions, or nats [n].

  Raises:
    InputError: shapes that do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.sparse.dictionary import distortion_of
    >>> distortion_of(jnp.array([[1.5], [3.0]]), jnp.array([[1.0], [3.0]])).tolist()
    [0.25, 0.0]
  """
  if jnp.issubdtype(y.dtype, jnp.integer):
    return cross_entropy_nats(prediction, y)
  checks.shape("prediction", prediction, ("n", "t"))
  checks.shape("target", y, prediction.shape)
  return jnp.sum(jnp.square(y.astype(jnp.float32) - prediction.astype(jnp.float32)), axis=-1)


def moments(dim: int) -> dict[str, Array]:
  """Count, mean and total variance of no rows yet.

  Args:
    dim: width of the rows.

  Returns:
    {"count" (), "mean" [dim], "variance" ()}.
  """
  return {"count": jnp.float32(0.0), "mean": jnp.zeros(dim), "variance": jnp.float32(0.0)}


def add_moments(known: Tree, y: Array, mask: Array) -> dict[str, Array]:
  """Adds a batch's rows to count, mean and total variance.

  Formula: with the batch's share s of all rows, mean + s d, d the difference of the means, and
  (1 - s) variance + s variance_batch + s (1 - s) |d|^2: nothing large is subtracted.

  Args:
    known: of the rows so far.
    y: [n, dim].
    mask: [n] bool, True where a row counts.

  Returns:
    The same of all rows; the variance is the mean squared distance from the mean.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.sparse.dictionary import add_moments, moments
    >>> first = add_moments(moments(1), jnp.array([[1.0], [3.0], [9.0]]), jnp.arange(3) < 2)
    >>> both = add_moments(first, jnp.array([[8.0]]), jnp.ones(1, bool))
    >>> float(first["variance"]), float(both["mean"][0]), round(float(both["variance"]), 4)
    (1.0, 4.0, 8.6667)

  Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance" (The
  American Statistician 37), the update by groups.
  """
  y = jnp.where(mask[:, None], y.astype(jnp.float32), 0.0)
  rows = jnp.sum(mask, dtype=jnp.float32)
  mean = jnp.sum(y, axis=0) / jnp.maximum(rows, 1.0)
  spread = jnp.where(mask[:, None], y - mean, 0.0)
  variance = jnp.sum(jnp.square(spread)) / jnp.maximum(rows, 1.0)
  count = known["count"] + rows
  share = rows / jnp.maximum(count, 1.0)
  apart = mean - known["mean"]
  among = share * (1.0 - share) * jnp.sum(jnp.square(apart))
  return {
    "count": count,
    "mean": known["mean"] + share * apart,
    "variance": (1.0 - share) * known["variance"] + share * variance + among,
  }


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
