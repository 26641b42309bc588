"""The distortion of a decoder, and the bound on I(Y;Z) it implies; shared by the methods.

Labels y [n] are scored by a softmax over the decoder's output, real-valued targets y [n, t] by a
Gaussian centred on it. Both are negative log likelihoods in nats, so that a method written once
serves classification and regression.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.numerics import LOG_2PI, entropy
from ibjax.core.types import ObjectiveSpec, Tree

Array = jax.Array
Covariance = Mapping[str, Array]  # {"log_diagonal": [t], "lower": [t, t]}, see covariance_factor


def init_distortion(spec: ObjectiveSpec) -> tuple[Tree, Tree]:
  """Returns the parameters and the state of a decoder's distortion.

  Args:
    spec: what is known of the data.

  Returns:
    (params, state) to merge into an objective's own. Labels: {} and their distribution.
    Targets: {"covariance"}, the density's, the identity at first; and H(Y) if it is known.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.types import ObjectiveSpec
    >>> from ibjax.objectives.distortion import init_distortion
    >>> init_distortion(ObjectiveSpec(jnp.zeros(0), 2, target_dim=1, target_entropy_nats=1.5))[1]
    {'target_entropy_nats': Array(1.5, dtype=float32)}
  """
  if not spec.target_dim:
    return {}, {"label_probs": spec.label_probs}
  t, known = spec.target_dim, spec.target_entropy_nats
  state = {} if known is None else {"target_entropy_nats": jnp.float32(known)}
  return {"covariance": {"log_diagonal": jnp.zeros(t), "lower": jnp.zeros((t, t))}}, state


def distortion_nats(params: Tree, prediction: Array, y: Array) -> Array:
  """Negative log likelihood of labels or targets under the decoder, per example.

  Args:
    params: the objective's, with those of `init_distortion`.
    prediction: [n, c] logits for labels, [n, t] centres for targets.
    y: [n] integer labels or [n, t] float targets.

  Returns:
    [n] in nats.

  Raises:
    InputError: a shape that does not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import distortion_nats
    >>> round(float(distortion_nats({}, jnp.zeros((1, 2)), jnp.array([0]))[0]), 6)
    0.693147
  """
  if jnp.issubdtype(y.dtype, jnp.integer):
    return cross_entropy_nats(prediction, y)
  return gaussian_nats(prediction, y, params["covariance"])


def information_bound(state: Tree, distortion: Array) -> dict[str, Array]:
  """Lower bound on I(Y;Z) that a decoder's distortion implies (Barber and Agakov 2003).

  Formula: I(Y;Z) = H(Y) - H(Y|Z) >= H(Y) - E[-log q(y|z)].

  Args:
    state: the objective's, with that of `init_distortion`.
    distortion: [n] nats.

  Returns:
    {"i_yz_lower_nats": [n]}, whose average is the bound; {} for targets of unknown entropy.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import information_bound
    >>> bound = information_bound({"label_probs": jnp.array([0.5, 0.5])}, jnp.zeros(1))
    >>> round(float(bound["i_yz_lower_nats"][0]), 6)
    0.693147
  """
  if "label_probs" in state:
    return {"i_yz_lower_nats": entropy(state["label_probs"]) - distortion}
  if "target_entropy_nats" in state:
    return {"i_yz_lower_nats": state["target_entropy_nats"] - distortion}
  return {}


def cross_entropy_nats(logits: Array, labels: Array) -> Array:
  """Negative log likelihood of the label under the decoder, per example.

  Formula: -log softmax(logits)_y, in float32 whatever the compute type.

  Args:
    logits: [n, c].
    labels: [n] integers in 0..c-1.

  Returns:
    [n] in nats.

  Raises:
    InputError: logits not [n, c], or labels not [n].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import cross_entropy_nats
    >>> round(float(cross_entropy_nats(jnp.zeros((1, 2)), jnp.array([0]))[0]), 6)
    0.693147
  """
  checks.shape("logits", logits, ("n", "c"))
  checks.shape("labels", labels, (logits.shape[0],))
  logits = logits.astype(jnp.float32)
  return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def gaussian_nats(prediction: Array, target: Array, covariance: Covariance) -> Array:
  """Negative log density of the target under a Gaussian centred on the prediction, per example.

  Formula: |L^-1 (y - prediction)|^2 / 2 + log det L + t/2 log 2 pi, L L' the covariance; in
  float32 whatever the compute type.

  Args:
    prediction: [n, t].
    target: [n, t].
    covariance: the parameters of L, see `covariance_factor`.

  Returns:
    [n] in nats; a density's, so it may be negative.

  Raises:
    InputError: prediction or target not [n, t].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import gaussian_nats
    >>> identity = {"log_diagonal": jnp.zeros(1), "lower": jnp.zeros((1, 1))}
    >>> round(float(gaussian_nats(jnp.zeros((1, 1)), jnp.ones((1, 1)), identity)[0]), 6)
    1.418939
  """
  t = covariance["log_diagonal"].shape[0]
  checks.shape("prediction", prediction, ("n", t))
  checks.shape("target", target, (prediction.shape[0], t))
  residual = target.astype(jnp.float32) - prediction.astype(jnp.float32)
  factor = covariance_factor(covariance)
  white = jax.scipy.linalg.solve_triangular(factor, residual.T, lower=True)
  log_det = jnp.sum(covariance["log_diagonal"])
  return 0.5 * (jnp.sum(jnp.square(white), axis=0) + t * LOG_2PI) + log_det


def covariance_factor(covariance: Covariance) -> Array:
  """The Cholesky factor L of a covariance L L' from free parameters.

  Formula: L = diag(exp(log_diagonal)) + the part of `lower` below the diagonal.

  Args:
    covariance: {"log_diagonal": [t], "lower": [t, t]}; zeros give the identity.

  Returns:
    [t, t], lower triangular, with a positive diagonal.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import covariance_factor
    >>> free = {"log_diagonal": jnp.zeros(2), "lower": jnp.full((2, 2), 3.0)}
    >>> covariance_factor(free).tolist()
    [[1.0, 0.0], [3.0, 1.0]]
  """
  lower = jnp.tril(covariance["lower"], -1)
  return lower + jnp.diag(jnp.exp(covariance["log_diagonal"]))


def refuse_targets(method: str, reason: str, spec: ObjectiveSpec) -> None:
  """Raises InputError when the data have real-valued targets, for a method that needs labels.

  Args:
    method: its name.
    reason: why it needs labels, a clause.
    spec: what is known of the data.

  Raises:
    InputError: the data have targets.
  """
  if spec.target_dim:
    raise InputError(
      f"{method} {reason}, and this data set has real-valued targets of {spec.target_dim} "
      "dimensions. Use vib or cross_entropy for them, or data with integer labels."
    )
