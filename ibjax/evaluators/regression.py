"""Error and likelihood of a regression whose predictions are averaged over sampled codes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.objectives.distortion import Covariance, gaussian_nats

Array = jax.Array


def regression(
  predictions: Array, targets: Array, covariance: Covariance | None
) -> dict[str, Array]:
  """Scores the mean predictive density over S sampled codes.

  Formula: p(y|x) = 1/S sum_s N(y; prediction_s, L L'); nll = -log p(y|x);
  mse = 1/t |y - 1/S sum_s prediction_s|^2.

  Args:
    predictions: [s, n, t], one slice per sampled code.
    targets: [n, t].
    covariance: of the decoder's density, see `ibjax.objectives.distortion.covariance_factor`;
      None for an objective that states no density.

  Returns:
    {"mse": [n], the squared error of the mean prediction averaged over the target's dimensions,
    in its unit squared; "nll_nats": [n], if there is a density}.

  Raises:
    InputError: predictions or targets that do not fit.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.regression import regression
    >>> identity = {"log_diagonal": jnp.zeros(1), "lower": jnp.zeros((1, 1))}
    >>> predictions = jnp.array([[[1.0]], [[3.0]]])
    >>> float(regression(predictions, jnp.array([[0.0]]), identity)["mse"][0])
    4.0

  Source: the regression counterpart of Alemi et al. 2017 (arXiv:1612.00410), section 4.1.
  """
  checks.shape("predictions", predictions, ("s", "n", "t"))
  checks.shape("targets", targets, predictions.shape[1:])
  predictions = predictions.astype(jnp.float32)
  if covariance is None:
    return {"mse": _squared_error(predictions, targets)}
  nats = jax.vmap(gaussian_nats, in_axes=(0, None, None))(predictions, targets, covariance)
  return {
    "mse": _squared_error(predictions, targets),
    "nll_nats": math.log(predictions.shape[0]) - jax.nn.logsumexp(-nats, axis=0),
  }


def _squared_error(predictions: Array, targets: Array) -> Array:
  return jnp.mean(jnp.square(jnp.mean(predictions, axis=0) - targets), axis=-1)
