"""How far the spectrum of a weight matrix is from that of noise.

Source: Martin and Mahoney 2021, "Implicit self-regularization in deep neural networks"
(arXiv:1810.01075), for spectra of weights beside the Marchenko-Pastur law; of queries and keys,
arXiv:2507.09394, whose exact list of measures could not be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.numerics import entropy
from ibjax.exact.marchenko_pastur import LEVELS, Null

Array = jax.Array


def measures(eigenvalues: Array, null: Null) -> dict[str, Array]:
  """Compares eigenvalues with those of noise, whose variance is fitted to the bulk.

  Formula: s^2 = median / null.median, because training inflates the variance and outliers do not
  move a median; edge l+ = s^2 null.edge; outliers = #{l > s^2 null.threshold}; gap = l_max - l+;
  outlier_energy = their sum / sum l; stable_rank = sum l / l_max; effective_rank =
  exp(H(l / sum l)); distance = max_j |F(s^2 null.quantile_j) - level_j|, of the density of all
  eigenvalues F from noise's, in [0, 1].

  Args:
    eigenvalues: [k], none negative, in units in which noise of unit variance has `null`'s.
    null: see `ibjax.exact.marchenko_pastur.noise` and `product_noise`.

  Returns:
    Scalars by name: "variance", "edge", "outliers", "gap", "outlier_energy", "stable_rank",
    "effective_rank", "distance".

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.spectrum import measures
    >>> from ibjax.exact.marchenko_pastur import noise
    >>> found = measures(jnp.array([1.0, 1.0, 1.0, 50.0]), noise(4, 64))
    >>> int(found["outliers"]), round(float(found["outlier_energy"]), 3)
    (1, 0.943)

  Source: the law, Marchenko and Pastur 1967; effective rank, Roy and Vetterli 2007.
  """
  checks.shape("eigenvalues", eigenvalues, (None,))
  values = jnp.maximum(eigenvalues, 0.0)
  variance = jnp.median(values) / null.median
  outlying = values > variance * null.threshold
  total = jnp.maximum(jnp.sum(values), jnp.finfo(values.dtype).tiny)
  below = jnp.mean(values[:, None] <= variance * jnp.asarray(null.quantiles), axis=0)
  return {
    "variance": variance,
    "edge": variance * null.edge,
    "outliers": jnp.sum(outlying).astype(values.dtype),
    "gap": jnp.max(values) - variance * null.edge,
    "outlier_energy": jnp.sum(jnp.where(outlying, values, 0.0)) / total,
    "stable_rank": total / jnp.maximum(jnp.max(values), jnp.finfo(values.dtype).tiny),
    "effective_rank": jnp.exp(entropy(values / total)),
    "distance": jnp.max(jnp.abs(below - jnp.asarray(LEVELS))),
  }


def eigenvalues(weights: Array) -> Array:
  """The eigenvalues of W W^T / n, or of its transpose where W has more rows than columns.

  Args:
    weights: [m, n].

  Returns:
    [min(m, n)], ascending, in units of `ibjax.exact.marchenko_pastur.noise(min, max)`.
  """
  checks.shape("weights", weights, (None, None))
  short = weights if weights.shape[0] <= weights.shape[1] else weights.T
  return jnp.linalg.eigvalsh(short @ short.T / short.shape[1])


def product_eigenvalues(query: Array, key: Array) -> Array:
  """The nonzero eigenvalues of (Q K^T)(Q K^T)^T / width^2.

  Args:
    query: Q [width, inner].
    key: K [width, inner].

  Returns:
    [min(width, inner)], ascending, in units of
    `ibjax.exact.marchenko_pastur.product_noise(width, inner)`.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.spectrum import product_eigenvalues
    >>> q = jnp.eye(3)[:, :2]
    >>> (9 * product_eigenvalues(q, 2.0 * q)).round(3).tolist()
    [4.0, 4.0]
  """
  checks.shape("query", query, ("width", "inner"))
  checks.shape("key", key, query.shape)
  width = query.shape[0]
  triangles = [jnp.linalg.qr(part, "r") for part in (query, key)]
  return jnp.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False)[::-1] ** 2 / width**2


def query_key(attention: Mapping[str, Any], head_dim: int) -> tuple[Array, Array]:
  """The query and key matrices of each head of an attention, as its scores multiply them.

  Positions are left out: they turn both, and at distance 0 not at all.

  Args:
    attention: its parameters, of grouped-query or of latent attention (whose keys are the latent's
      followed by the rotary ones).
    head_dim: of a head.

  Returns:
    (query, key), each [heads, width, inner].
  """
  query = _heads(attention["query"]["kernel"], head_dim)
  if "up_key" not in attention:
    key = _heads(attention["key"]["kernel"], head_dim)
    return query, jnp.repeat(key, query.shape[0] // key.shape[0], axis=0)
  shared = attention["rotary_key"]["kernel"]
  turned = _heads(attention["rotary_query"]["kernel"], shared.shape[1])
  key = jnp.einsum("dr,rhk->hdk", attention["down"]["kernel"], attention["up_key"])
  shared = jnp.broadcast_to(shared, (key.shape[0], *shared.shape))
  return jnp.concatenate([query, turned], -1), jnp.concatenate([key, shared], -1)


def _heads(kernel: Array, size: int) -> Array:
  """[width, heads * size] as [heads, width, size]."""
  return jnp.moveaxis(kernel.reshape(kernel.shape[0], -1, size), 1, 0)
