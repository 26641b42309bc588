"""Mutual information as a difference of two cross-entropies.

Source: McAllester and Stratos 2020, "Formal limitations on the measurement of mutual information"
(arXiv:1811.04251).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.densities import FAMILIES, make_density
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.splits import centre, scale, split

Array = jax.Array


def difference_of_entropies(
  family: str = "flow",
  sizes: tuple[int, ...] = (64, 64),
  bins: int = 8,
  steps: int = 3000,
  batch_size: int = 256,
  learning_rate: Scalar = 2e-3,
  transform: str = "standardize",
) -> Estimator:
  """Fits a density of y and one of y given x, and subtracts their held-out cross-entropies.

  Formula: I = E[-log q(y)] - E[-log q(y | x)], both of one family, fitted together by likelihood
  (the first with zeros in place of x), stopped by the validation part, reported on the test part.

  Assumes that the family holds both densities. Use it where the information is large, which
  critics cannot report (a lower bound with confidence is at most about log n), and y has few
  dimensions: it needs a density of y, not of x.

  Bias: neither bound. Each cross-entropy is above its entropy by a divergence; a poor q(y)
  raises the estimate, a poor q(y | x) lowers it. "gaussian" and "logistic" take the columns of y
  as independent, given x and without x, so correlated columns of y raise the estimate; use
  "flow" there. An overfitted q(y | x) lowers it (it is reported on rows held out).

  Args:
    family: "gaussian", "logistic" (both diagonal) or "flow" (autoregressive splines).
    sizes: widths of the hidden layers; at least the columns of y for a flow.
    bins: of the splines of a flow.
    steps: the most updates.
    batch_size: rows of a batch.
    learning_rate: Adam's; may be traced.
    transform: of the columns before the fit: "standardize", "ranks" for heavy tails, or "none".

  Returns:
    An `Estimator` with "h_y_nats" and "h_y_given_x_nats" (cross-entropies of the columns of y as
    transformed) and "best_step" among its diagnostics.

  Raises:
    InputError: an unknown family or transform, fewer than two bins.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.variational.difference_of_entropies import difference_of_entropies
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=64)
    >>> small = difference_of_entropies(family="gaussian", sizes=(8,), steps=2)
    >>> bool(np.isfinite(small(x, x + rng.normal(size=64)).nats))
    True

  Source: McAllester and Stratos 2020 (arXiv:1811.04251), the difference of cross-entropies they
    propose beside the limit on lower bounds; Gaussian and logistic densities as in their code.
    The flow is an addition.
  """
  checks.one_of("family", family, FAMILIES)
  checks.at_least("bins", bins, 2)

  def value(x, y, z, key):
    del z
    found = _fit_and_report(
      centre(x),
      centre(y),
      key,
      learning_rate,
      family=family,
      sizes=tuple(sizes),
      bins=bins,
      steps=steps,
      batch_size=batch_size,
      transform=transform,
    )
    local = found.pop("local")
    stderr = jnp.std(local, ddof=1) / jnp.sqrt(len(local))
    return Value(jnp.mean(local), stderr=stderr, extra=found)

  return Estimator(
    name="difference_of_entropies",
    value=value,
    no_interval="the misfit of the two densities is unknown; the standard error is that of the "
    "held-out rows alone",
    jittable=True,
    needs_key=True,
    min_n=16,
  )


@functools.partial(
  jax.jit, static_argnames=("family", "sizes", "bins", "steps", "batch_size", "transform")
)
def _fit_and_report(
  x: Array,
  y: Array,
  key: Array,
  learning_rate: Scalar,
  *,
  family: str,
  sizes: tuple[int, ...],
  bins: int,
  steps: int,
  batch_size: int,
  transform: str,
) -> dict[str, Array]:
  density = make_density(family, sizes, bins)
  parts = scale(split((x, y), key), transform)
  params = {
    name: density.init(rng.stream(key, name), x.shape[1], y.shape[1]) for name in ("alone", "given")
  }

  def log_probs(params, rows):
    x, y = rows
    alone = density.log_prob(params["alone"], y, jnp.zeros_like(x))
    return alone, density.log_prob(params["given"], y, x)

  def loss(params, rows, _):
    alone, given = log_probs(params, rows)
    return -jnp.mean(alone + given)

  fitted = fit(
    loss,
    params,
    parts.train,
    parts.validation,
    key=key,
    steps=steps,
    batch_size=batch_size,
    learning_rate=learning_rate,
    check_every=20,  # a density overfits few rows within a hundred steps
    patience=25,
    clip_norm=5.0,
  )
  alone, given = log_probs(fitted.params, parts.test)
  return {
    "local": given - alone,
    "h_y_nats": -jnp.mean(alone),
    "h_y_given_x_nats": -jnp.mean(given),
    "best_step": fitted.best_step,
  }


def _copies(spread: float, n: int = 8000):
  """x seen twice through independent noise, and what each reading alone, and both, tell of it."""
  draw = np.random.default_rng(0).normal(size=(n, 3))
  return dict(x=draw[:, :1], y=draw[:, :1] + spread * draw[:, 1:])


_SMALL: dict[str, Any] = dict(sizes=(16,), bins=4, steps=300, learning_rate=4e-3)

CASES = (
  Case(
    name="two readings of x, taken as independent",
    hyper=dict(family="gaussian", **_SMALL),
    inputs=lambda: _copies(0.6),
    expected=dict(nats=math.log(1.0 + 1.0 / 0.36)),
    source="closed form: the sum of I(X;Y_j) = log(1 + 1 / 0.6^2) / 2, above I(X;Y)",
    rtol=0.06,
  ),
  Case(
    name="two readings of x, by a flow",
    hyper=dict(family="flow", **_SMALL),
    inputs=lambda: _copies(0.6),
    expected=dict(nats=0.5 * math.log(1.0 + 2.0 / 0.36)),
    source="closed form: log(1 + 2 / 0.6^2) / 2",
    rtol=0.08,
  ),
)

TRUTHS = (Truth("gaussian:d=1,rho=0.6", 8000, 0.05, dict(family="logistic", **_SMALL)),)
