"""Sliced mutual information: scalar information averaged over random projections.

Source: Goldfeld and Greenewald 2021, "Sliced mutual information: a scalable measure of statistical
dependence" (arXiv:2110.05279).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Value
from ibjax.core.types import Case
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.neighbours.ksg import ksg

INNER = ("ksg", "gaussian")


def sliced(inner: str = "ksg", slices: int = 64, k: int = 5) -> Estimator:
  """Averages the information between random one-dimensional projections of x and of y.

  Formula: SI(X;Y) = E I(a'X; b'Y) over a, b uniform on the unit spheres, by `slices` draws of
  (a, b) and a scalar estimator of each: KSG, or -1/2 log(1 - r^2) with the correlation r.

  It is a dependence measure of its own: zero only at independence, at most I(X;Y), and in many
  columns far below it (about 1/d of a weak dependence spread over d columns). Equal to I(X;Y) for
  single columns. Use it where columns are too many for other estimators: its error does not grow
  with them. Bias: that of the scalar estimator, at most. Unlike I it may grow when a column is
  transformed, and depends on the relative scale of the columns: standardise them if that means
  nothing.

  Args:
    inner: "ksg" or "gaussian" (which sees linear dependence alone, and is fast).
    slices: number of pairs of directions.
    k: neighbours, for "ksg".

  Returns:
    An `Estimator` of x [n, d], y [n, e]. Its `stderr` is that of the average over directions, for
    the samples given; diagnostics "slice_nats", the value of each pair of directions.

  Raises:
    InputError: another inner estimator, fewer than 2 slices, k below 1.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.sliced.sliced import sliced
    >>> x = np.random.default_rng(0).normal(size=(500, 10))
    >>> 0.0 < sliced(inner="gaussian")(x, x).nats < 0.2
    True

  Source: Goldfeld and Greenewald 2021 (arXiv:2110.05279), definition 1 and section 3.
  """
  checks.one_of("inner", inner, INNER)
  checks.at_least("slices", slices, 2)
  checks.at_least("k", k, 1)
  scalar = ksg(k=k)

  def value(x, y, z, key) -> Value:
    known = isinstance(x, np.ndarray)
    directions = (
      _directions(one, slices, values.shape[1])
      for one, values in zip(jax.random.split(key), (x, y))
    )
    # [n, slices]: in float64 where the samples are known, so that no ties are made.
    a, b = (
      values @ (np.asarray(one, np.float64) if known else one)
      for one, values in zip(directions, (x, y))
    )
    if inner == "gaussian":
      local = _gaussian(jnp.asarray(a - a.mean(0)), jnp.asarray(b - b.mean(0)))
    else:
      pairs = [(a[:, i : i + 1], b[:, i : i + 1]) for i in range(slices)]
      local = jnp.stack([scalar.value(u, v, None, None).nats for u, v in pairs])
    error = jnp.std(local, ddof=1) / math.sqrt(slices)
    return Value(jnp.mean(local), stderr=error, extra={"slice_nats": local})

  return Estimator(
    name="sliced",
    value=value,
    quantity="dependence",
    no_interval="stderr is that of the directions alone, not of the draw of the samples",
    invariances=("translation", "scale", "rows"),
    jittable=inner == "gaussian",
    needs_key=True,
    min_n=k + 1 if inner == "ksg" else 3,
  )


def _directions(key, slices, d):
  """[d, slices] columns uniform on the unit sphere."""
  normal = jax.random.normal(key, (d, slices))
  return normal / jnp.linalg.norm(normal, axis=0)


def _gaussian(a, b):
  norms = jnp.sum(a * a, axis=0) * jnp.sum(b * b, axis=0)
  squared = jnp.sum(a * b, axis=0) ** 2 / jnp.where(norms > 0, norms, 1.0)
  return -0.5 * jnp.log1p(-jnp.minimum(squared, 1.0 - 1e-6))


def _square() -> dict[str, np.ndarray]:
  return dict(x=np.array([-1.0, -1.0, 1.0, 1.0]), y=np.array([-2.0, 0.0, 0.0, 2.0]))


CASES = (
  Case(
    name="single columns: every direction is the same",
    hyper=dict(inner="gaussian", slices=4),
    inputs=_square,
    expected=dict(nats=0.5 * math.log(2), stderr=0.0),
    source="closed form: the correlation is 1 / sqrt(2)",
  ),
  Case(
    name="single columns by neighbours",
    hyper=dict(slices=3, k=1),
    inputs=lambda: dict(x=np.array([0.0, 1.0, 3.0, 7.0]), y=np.array([0.0, 1.0, 3.0, 7.0])),
    expected=dict(nats=11 / 6),
    source="by hand: psi(4) - psi(1), as of KSG",
  ),
)
TRUTHS = ()
