"""Normalised HSIC, in its two meanings: kernel alignment (CKA) and that of the HSIC bottleneck.

Source: Kornblith et al. 2019, "Similarity of neural network representations revisited"
(arXiv:1905.00414); Ma, Lewis and Kleijn 2020, "The HSIC bottleneck" (arXiv:1908.01580).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import gram
from ibjax.estimators.base.contract import Estimator

METHODS = ("cka", "bottleneck")


def normalised_hsic(
  method: str = "cka",
  sigma_x: Scalar | None = None,
  sigma_y: Scalar | None = None,
  kernel: str | gram.Compare = "gaussian",
  unbiased: bool = True,
  epsilon: Scalar = 1e-5,
  exact_up_to: int = 2048,
  rank: int = 512,
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Measures dependence by HSIC, normalised so that kernels of another size compare.

  Formula: "cka": HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)), by the unbiased or the biased form.
  "bottleneck": tr(A_x A_y) with A = C (C + epsilon n I)^-1 and C = H K H the centred matrix.

  "cka" is 1 for equal (or rotated and scaled) x and y, near 0 for independent ones; the unbiased
  form may be below 0. "bottleneck" is a sum of squared regularised canonical correlations of the
  kernels' features, between 0 and the number of features that epsilon leaves: it depends little on
  the width, and for a small epsilon it counts them, also at independence, where it is of the order
  of (features of x) (features of y) / n. Both have no unit.

  "cka" works in tiles at any n. "bottleneck" makes n by n matrices up to `exact_up_to` rows; beyond
  it takes for each kernel a matrix of lower rank, by a Cholesky decomposition that is stopped after
  `rank` rows, each the one that those before explain least. What is left out makes the result low;
  the diagnostics say how much that is of each trace: beside epsilon it should be small.

  Args:
    method: "cka" or "bottleneck".
    sigma_x: width of the kernel of x, a standard deviation, > 0; None takes the median distance
      of up to 512 rows; may be traced.
    sigma_y: the same for y; labels have none.
    kernel: as of `hsic`.
    unbiased: which form of HSIC, for "cka".
    epsilon: regularisation, for "bottleneck", > 0; may be traced.
    exact_up_to: largest n whose n by n matrices are made, for "bottleneck".
    rank: rows of the stopped decomposition, for "bottleneck"; memory is a few times n * rank.
    block_size: rows of a tile of pairs; memory is a few times its square.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x and y, each [n, d] numbers or [n] labels; diagnostics "sigma_x", "sigma_y",
    and beyond `exact_up_to` rows "left_out_x_frac" and "left_out_y_frac", the shares of the traces.
    "cka" of a constant x or y is 0.

  Raises:
    InputError: a width or epsilon that is not positive, another method; when called, a given
      kernel that is not symmetric or not positive semidefinite.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.normalised_hsic import normalised_hsic
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> round(normalised_hsic()(x, -3.0 * x).nats, 4)
    1.0

  Source: Kornblith et al. 2019 (arXiv:1905.00414), eq. 4 (CKA); Ma et al. 2020 (arXiv:1908.01580)
  for the second, whose normalised operator is that of Fukumizu et al. 2008, "Kernel measures of
  conditional dependence".
  """
  checks.one_of("method", method, METHODS)
  checks.at_least("epsilon", epsilon, 0.0, strict=True)
  checks.at_least("rank", rank, 1)
  gram.check_widths(sigma_x, sigma_y)

  def cka(x, y) -> Value:
    (cross, own_x, own_y), widths = gram.centred_products(
      x, y, kernel, sigma_x, sigma_y, unbiased=unbiased, block_size=block_size, devices=devices
    )
    power = jnp.maximum(own_x, 0.0) * jnp.maximum(own_y, 0.0)
    return Value(jnp.where(power > 0, cross / jnp.sqrt(power), 0.0), extra=widths)

  def bottleneck(x, y) -> Value:
    factors, extra = [], {}
    for name, values, sigma in (("x", x, sigma_x), ("y", y, sigma_y)):
      compare = gram.choose(values, kernel)
      rows, extra[f"sigma_{name}"] = gram.prepare(values, compare, sigma)
      if len(rows) <= exact_up_to:
        factors.append(compare(rows, rows))
      else:
        factor, extra[f"left_out_{name}_frac"] = _cholesky(rows, compare, min(rank, len(rows) - 1))
        factors.append(factor)
    # What is known is decomposed in float64: epsilon is near what float32 resolves.
    if checks.is_concrete(factors[0]) and checks.is_concrete(epsilon):
      known = [np.asarray(one, np.float64) for one in factors]
      return Value(_canonical(np, known, epsilon), extra=extra)
    return Value(_canonical(jnp, factors, epsilon), extra=extra)

  return Estimator(
    name="normalised_hsic",
    value=lambda x, y, z, key: (cka if method == "cka" else bottleneck)(x, y),
    x="any",
    y="any",
    quantity="dependence",
    no_interval=gram.NO_INTERVAL,
    invariances=gram.invariances(kernel, sigma_x, sigma_y),
    jittable=True,
    min_n=4,
  )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _cholesky(rows, compare, rank):
  """Z [n, rank] with K near Z Z', and the share of the trace of K that is left out."""
  diagonal = jax.vmap(lambda row: compare(row[None], row[None])[0, 0])(rows)

  def step(k, carry):
    z, left = carry
    pivot = jnp.argmax(left)
    column = compare(rows, rows[pivot][None])[:, 0] - z @ z[pivot]
    explained = left[pivot] > 1e-6 * jnp.max(diagonal)
    column = jnp.where(explained, column / jnp.sqrt(jnp.maximum(left[pivot], 1e-30)), 0.0)
    return z.at[:, k].set(column), jnp.maximum(left - jnp.square(column), 0.0)

  z, left = jax.lax.fori_loop(0, rank, step, (jnp.zeros((len(rows), rank)), diagonal))
  return z, jnp.sum(left) / jnp.sum(diagonal)


def _canonical(xp: Any, factors: Any, epsilon: Scalar) -> Any:
  """tr(A_x A_y) from K [n, n] or Z [n, m] of each, by bases of the centred features."""
  bases = []
  for factor in factors:
    n, m = factor.shape
    centred = factor - factor.mean(0)
    if n == m:
      centred = centred - centred.mean(1)[:, None]
      eigenvalues, basis = xp.linalg.eigh(0.5 * (centred + centred.T))
    else:  # C = Z Z' has the eigenvalues of Z' Z
      eigenvalues, vectors = xp.linalg.eigh(centred.T @ centred)
      kept = eigenvalues > 1e-9 * eigenvalues[-1]
      root = xp.sqrt(xp.where(kept, eigenvalues, 1.0))
      basis = centred @ vectors * xp.where(kept, 1.0 / root, 0.0)
    eigenvalues = xp.maximum(eigenvalues, 0.0)
    bases.append((basis, eigenvalues / (eigenvalues + epsilon * n)))
  (u, f), (v, g) = bases
  return xp.sum(f[:, None] * (u.T @ v) ** 2 * g)


def _blobs() -> dict[str, Any]:
  return dict(x=np.array([0.0, 1.0, 3.0, 4.0]), y=np.array([0.0, 2.0, 1.0, 5.0]))


def _dense_bottleneck(epsilon: float) -> float:
  h = np.eye(4) - 0.25
  parts = []
  for a in _blobs().values():
    c = h @ np.exp(-((a[:, None] - a) ** 2) / (2 * 1.5**2)) @ h
    parts.append(c @ np.linalg.inv(c + epsilon * 4 * np.eye(4)))
  return float(np.trace(parts[0] @ parts[1]))


CASES = (
  Case(
    name="biased linear CKA of single columns is the squared correlation",
    hyper=dict(kernel="linear", unbiased=False),
    inputs=_blobs,
    expected=dict(nats=float(np.corrcoef(*_blobs().values())[0, 1] ** 2)),
    source="closed form",
  ),
  Case(
    name="CKA of labels with themselves under other names",
    hyper=dict(),
    inputs=lambda: dict(x=np.array([0, 0, 1, 1, 2, 2]), y=np.array([4, 4, 9, 9, 1, 1])),
    expected=dict(nats=1.0),
    source="closed form",
  ),
  Case(
    name="bottleneck, by the definition",
    hyper=dict(method="bottleneck", sigma_x=1.5, sigma_y=1.5, epsilon=0.05),
    inputs=_blobs,
    expected=dict(nats=_dense_bottleneck(0.05)),
    source="independent computation with inverses of dense matrices",
  ),
  Case(
    name="bottleneck of two classes: one feature, squared shrinkage",
    hyper=dict(method="bottleneck", epsilon=0.1),
    inputs=lambda: dict(x=np.array([0, 0, 1, 1]), y=np.array([0, 0, 1, 1])),
    expected=dict(nats=(2 / (2 + 0.4)) ** 2),
    source="closed form: the centred matrix has the eigenvalue 2 alone",
  ),
)
TRUTHS = ()
