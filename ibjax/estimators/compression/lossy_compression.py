"""Mutual information of wide variables, between their compressed versions.

Source: Butakov et al. 2024, "Information bottleneck analysis of deep neural networks via lossy
compression" (arXiv:2305.08013).
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.autoencoder import autoencode
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.principal import principal_components
from ibjax.estimators.neighbours.kozachenko_leonenko import kozachenko_leonenko
from ibjax.estimators.neighbours.ksg import ksg
from ibjax.estimators.neighbours.ross import ross

COMPRESSIONS = ("pca", "autoencoder")
METHODS = ("ksg", "kl", "wkl")


def lossy_compression(
  x_compression: str = "pca",
  y_compression: str = "pca",
  x_dim: int = 4,
  y_dim: int = 4,
  method: str = "ksg",
  k: int = 5,
  sizes: tuple[int, ...] = (128, 64),
  steps: int = 3000,
  batch_size: int = 256,
  learning_rate: Scalar = 1e-3,
  noise: Scalar = 0.1,
) -> Estimator:
  """Compresses x and y, each without looking at the other, and measures what their codes share.

  Formula: I(E(x); E'(y)) <= I(X;Y), with the nearest-neighbour estimate of the left side: "ksg";
  or "kl", h(E) + h(E') - h(E, E') by Kozachenko-Leonenko, each code and the pair whitened first
  and log det / 2 added back; or "wkl", the same with weights that remove the leading bias in four
  columns and more. With labels y: "ksg" is Ross's estimator, the others h(E) - sum_y p(y) h(E|y).

  Assumes that a few numbers hold nearly all that x says of y, as parameters of an image do. Use
  it for images and layers with hundreds of columns, where distances in the full space mean
  nothing. The network must be stochastic for I(X;T) to be finite: base/stochastic.py adds noise
  before every layer.

  Bias: a lower value by data processing: the gap I(X;Y) - I(E;E') is unknown, and zero when the
  codes keep all that matters; report the diagnostics with it. To that comes the neighbours' own
  bias, towards zero where information is large for the columns of the codes. "kl" and "wkl" take
  the codes to have a density in all their columns: codes on a curved sheet (four components of
  images with two parameters) have none, and these fail, below zero even, where "ksg" does not.

  Args:
    x_compression: "pca" (leading components, unit variance) or "autoencoder".
    y_compression: the same for y.
    x_dim: columns of x's code; an x of no more columns is left whole.
    y_dim: columns of y's code.
    method: "ksg", "kl" or "wkl".
    k: number of neighbours; "wkl" needs at least the columns of both codes together.
    sizes: widths of an autoencoder's hidden layers.
    steps: the most updates of an autoencoder.
    batch_size: rows of its batches.
    learning_rate: of its Adam; may be traced.
    noise: of its input during the fit.

  Returns:
    An `Estimator` of a lower bound; its diagnostics "x_kept" and "y_kept" are the fraction of the
    variance (PCA), or one less the relative absolute error (autoencoder), that the codes keep.

  Raises:
    InputError: an unknown option, a dim below 1; codes with columns that others determine; labels
      with a class of too few rows for "kl" and "wkl".

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.compression.lossy_compression import lossy_compression
    >>> rng = np.random.default_rng(0)
    >>> z, e = rng.normal(size=(2, 1000, 1))
    >>> wide = z @ rng.normal(size=(1, 50))  # one number in fifty columns
    >>> bool(abs(lossy_compression(x_dim=1)(wide, 0.8 * z + 0.6 * e).nats - 0.511) < 0.1)
    True

  Source: Butakov et al. 2024 (arXiv:2305.08013); whitening, k = 5 and the form with labels after
    their published code.
  """
  for name, one in (("x_compression", x_compression), ("y_compression", y_compression)):
    checks.one_of(name, one, COMPRESSIONS)
  for name, count in (("x_dim", x_dim), ("y_dim", y_dim), ("k", k)):
    checks.at_least(name, count, 1)
  checks.one_of("method", method, METHODS)
  options: dict[str, Any] = dict(
    sizes=sizes, steps=steps, batch_size=batch_size, learning_rate=learning_rate, noise=noise
  )

  def compressed(a, kind, dim, key):
    if a.shape[1] <= dim:
      return _varying(a), 1.0
    a = jnp.asarray(a - a.mean(axis=0), jnp.float32)
    if kind == "pca":
      code, kept = principal_components(a, min(dim, len(a) - 1))
    else:
      code, lost = autoencode(a, dim, key, **options)
      kept = 1.0 - lost
    return _varying(np.asarray(code, np.float64)), float(kept)

  def value(x, y, z, key):
    del z
    codes, x_kept = compressed(x, x_compression, x_dim, rng.stream(key, "x"))
    extra = {"x_kept": x_kept}
    other = y
    if y.ndim == 2:
      other, extra["y_kept"] = compressed(y, y_compression, y_dim, rng.stream(key, "y"))
    if codes.shape[1] == 0 or other.size == 0:
      return Value(jnp.float32(0.0), extra=extra)  # a constant says nothing
    if method != "ksg":
      nats = _by_entropies(codes, other, k, method == "wkl")
      return Value(jnp.asarray(nats), extra=extra)
    found = (ksg if y.ndim == 2 else ross)(k=k).value(codes, other)
    return found._replace(extra=extra)

  learnt = "autoencoder" in (x_compression, y_compression)
  return Estimator(
    name="lossy_compression",
    value=value,
    y="any",
    bound="lower",
    no_interval="how much the compression loses is unknown",
    invariances=() if learnt else ("rows", "translation", "scale"),
    needs_key=learnt,
    min_n=max(16, k + 1),
  )


def _varying(code: np.ndarray) -> np.ndarray:
  return code[:, np.ptp(code, axis=0) > 0]


def _by_entropies(x: np.ndarray, y: np.ndarray, k: int, weighted: bool) -> np.float64:
  entropy = kozachenko_leonenko(k=k, weighted=weighted).value

  def whitened(a: np.ndarray) -> np.float64:
    centred = a - a.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(centred.T)))
    if values[0] <= 1e-12 * values[-1]:
      raise InputError(
        f"lossy_compression: {a.shape[1]} columns of codes, of which one is determined by the "
        "others, so no density exists. Lower x_dim or y_dim, or add noise to the layer "
        "(base/stochastic.py)."
      )
    white = centred @ (vectors / np.sqrt(values))
    return entropy(white).nats + 0.5 * np.sum(np.log(values))

  if y.ndim == 2:
    return whitened(x) + whitened(y) - whitened(np.concatenate([x, y], axis=1))
  total = whitened(x)
  for label, count in zip(*np.unique(y, return_counts=True)):
    if count <= max(k, x.shape[1] + 1):
      raise InputError(
        f"lossy_compression: label {label} has {count} rows, expected more than "
        f"{max(k, x.shape[1] + 1)}. Merge rare labels, or use method='ksg'."
      )
    total -= count / len(y) * whitened(x[y == label])
  return total


def _hidden(n: int = 2000):
  """A pair with correlation 0.9, each turned into many columns of little noise."""
  draw = np.random.default_rng(0)
  z, e = draw.normal(size=(2, n, 1))
  wide = [a @ draw.normal(size=(1, 30)) for a in (z, 0.9 * z + math.sqrt(0.19) * e)]
  x, y = (a + 1e-3 * draw.normal(size=a.shape) for a in wide)
  return dict(x=x, y=y)


CASES = (
  *(
    Case(
      name=f"one number in thirty columns, {method}",
      hyper=dict(x_dim=1, y_dim=1, method=method),
      inputs=_hidden,
      expected=dict(nats=-0.5 * math.log(0.19)),
      source="closed form: -log(1 - 0.9^2) / 2, of the numbers",
      rtol=0.06,
    )
    for method in METHODS
  ),
  Case(
    name="two labels far apart, entropies",
    hyper=dict(x_dim=1),
    inputs=lambda: dict(
      x=10.0 * (np.arange(1000) % 2)[:, None] + np.random.default_rng(0).normal(size=(1000, 3)),
      y=np.arange(1000) % 2,
    ),
    expected=dict(nats=math.log(2)),
    source="limit: the label is certain",
    rtol=0.06,
  ),
)

TRUTHS = (
  Truth("gaussian:d=2,rho=0.6", 2000, 0.1),
  Truth("blob_images:nats=2.0", 2000, 0.4, dict(method="ksg")),
)
