"""Diffusion spectral mutual information (DSMI) of a layer with labels or inputs.

Source: Liao et al. 2023, "Assessing neural network representations during training using
noise-resilient diffusion spectral entropy" (arXiv:2312.04823).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import SpectralClustering

from ibjax.core import checks
from ibjax.core.estimate import Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import kernels
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.spectral.diffusion_spectral_entropy import (
  diffusion_spectral_entropy,
  exact,
)


def diffusion_spectral_information(
  sigma: Scalar = 10.0,
  t: Scalar = 1.0,
  alpha: Scalar = 0.0,
  draws: int = 5,
  bins: int = 10,
  exact_up_to: int = 2048,
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Measures by how much the spectral entropy of x falls once y is known.

  Formula: sum_b (n_b / n) [mean over draws of S(A_b) - S(x | y = b)], with S the diffusion
  spectral entropy and A_b a random subset of all rows, of the size n_b of the class b: so the
  growth of S with the number of samples cancels.

  Real y is made discrete first: one column by `bins` equal bins between its least and largest
  value, several columns by spectral clustering into `bins` groups (nearest-neighbour affinity).

  It is no mutual information: it has its own scale, set by sigma, and may be a little below zero.
  Use it to follow what a layer knows of labels or of the input through training. Bias: none known
  from n; classes of a single row count as nothing.

  Args:
    sigma: width of the kernel, a standard deviation in the units of x, > 0; may be traced.
    t: diffusion time, >= 1; may be traced.
    alpha: density normalisation, in [0, 1], see `diffusion_spectral_entropy`; may be traced.
    draws: random subsets for each class.
    bins: groups that real y is cut into.
    exact_up_to: largest number of rows of a class whose eigenvalues are found one by one.
    block_size: rows of a tile of pairs beyond that.
    devices: over how many devices the rows are spread beyond that; None takes all.

  Returns:
    An `Estimator` of x [n, d] and y ([n] labels or [n, e] numbers); its diagnostics hold
    "entropy_nats", the mean of S(A_b), and "conditional_nats".

  Raises:
    InputError: a hyperparameter out of its range.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.spectral.diffusion_spectral_information import (
    ...   diffusion_spectral_information)
    >>> labels = np.repeat([0, 1], 20)
    >>> x = 1e3 * labels[:, None] + np.zeros((40, 2))  # the class is the state
    >>> round(diffusion_spectral_information()(x, labels).nats, 1)  # near log 2
    0.7

  Source: Liao et al. 2023 (arXiv:2312.04823), definition of DSMI, with the subsets of equal size
  and the five draws of the released code.
  """
  checks.at_least("draws", draws, 1)
  checks.at_least("bins", bins, 1)
  entropy = diffusion_spectral_entropy(
    sigma, t, alpha, exact_up_to, block_size=block_size, devices=devices
  )

  def value(x, y, z, key) -> Value:
    labels = y if y.ndim == 1 else _groups(y, bins, key)
    layer = kernels.centre(x)
    n = len(layer)
    order, probe = jax.random.split(key)
    subsets = [np.asarray(jax.random.permutation(one, n)) for one in jax.random.split(order, draws)]
    found = np.zeros(2)
    classes, counts = np.unique(labels, return_counts=True)
    # Padded to one length, so that all classes share one compiled program.
    length = min(-(-int(counts.max()) // 64) * 64, exact_up_to)

    def measure(rows):
      if len(rows) > exact_up_to:
        return entropy.value(layer[rows], None, None, probe).nats
      padded = np.resize(rows, length)
      return exact(layer[padded], jnp.arange(length) < len(rows), sigma, t, alpha)

    for label, count in zip(classes, counts):
      if count > 1:
        all_of = np.mean([float(measure(subset[:count])) for subset in subsets])
        within = float(measure(np.flatnonzero(labels == label)))
        found += count / n * np.array([all_of, within])
    return Value(
      jnp.float32(found[0] - found[1]),
      extra={"entropy_nats": found[0], "conditional_nats": found[1]},
    )

  return Estimator(
    name="diffusion_spectral_information",
    value=value,
    y="any",
    quantity="dependence",
    no_interval="its spread over draws of the samples has no known form",
    invariances=("translation",),
    needs_key=True,
    min_n=4,
  )


def _groups(y: np.ndarray, bins: int, key) -> np.ndarray:
  if y.shape[1] == 1:
    edges = np.linspace(y.min(), y.max(), bins + 1)[1:-1]
    return np.searchsorted(edges, y[:, 0], side="right")
  seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
  clusters = SpectralClustering(
    min(bins, len(y) // 2),
    affinity="nearest_neighbors",
    n_neighbors=min(10, len(y) - 1),
    assign_labels="cluster_qr",
    random_state=seed,
  )
  return clusters.fit_predict(y)


def _subset_entropy() -> float:
  """Two states of two rows each: a random pair is of one state with probability 1/3."""
  return 2 / 3 * math.log(2)


CASES = (
  Case(
    name="classes that are one state each, and many draws",
    hyper=dict(draws=300),
    inputs=lambda: dict(x=np.array([[0.0], [0.0], [1e3], [1e3]]), y=np.array([0, 0, 1, 1])),
    expected=dict(nats=_subset_entropy(), conditional_nats=0.0),
    source="closed form: two of four rows are of different states with probability 2/3",
    rtol=0.1,
  ),
)
TRUTHS = ()
# What the checks that need no particular value are run with.
TINY = dict(sigma=1.0, draws=2, bins=3)
