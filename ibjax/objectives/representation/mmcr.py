"""Maximum manifold capacity representations (MMCR).

Source: Yerxa et al. 2023, "Learning efficient coding of natural images with maximum manifold
capacity representations" (NeurIPS, arXiv:2303.03307).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.embedding import embedded_views, unit

Array = jax.Array
LAGRANGIAN = Lagrangian(form="rate", penalty="nuclear norm of an example's views")
# Of the largest eigenvalue there may be: where the root's slope stops growing. float32 holds
# eigenvalues no better than this.
_JITTER = 1e-7


def mmcr(beta: Scalar = 0.0) -> Objective:
  """Spreads the centroids of the examples' views, and so draws the views of one together.

  Formula: min E[-log q(y|z)] - ||C||_* + beta 1/n sum_b ||Z_b||_*, with C [n, d] the means over
  the views of vectors of length one, Z_b [views, d] the views of example b, and ||.||_* the
  nuclear norm, the sum of singular values. A centroid is long only where its views agree, and the
  norm is large only where centroids differ: 0 <= ||C||_* <= sqrt(n min(n, d)), with equality for
  views that coincide and centroids that form a tight frame.

  Use it when there are several views of each example and no labels; more views serve it better
  than more examples (the paper has 40 views of 32 images). The norms are of the whole batch. The
  term in q trains the decoder; with `config.train.probe` it moves nothing else, as in the paper.

  Singular values are roots of eigenvalues of the smaller Gram matrix, which have finite gradients
  where they repeat, as they do at the optimum; l / sqrt(l + 1e-7 trace) in place of sqrt(l) keeps
  them finite at zero, and keeps to the bound.

  Args:
    beta: price of the nuclear norm within an example, >= 0; may be traced. 0 is the paper's.

  Returns:
    An `Objective` with losses distortion_nats [n], centroid_norm and view_norm (scalars, without
    a unit), and the metric capacity_frac, ||C||_* over its bound.

  Raises:
    InputError: a negative beta, a single view.

  Example:
    >>> from ibjax.objectives.representation.mmcr import mmcr
    >>> mmcr().views
    2

  Source: Yerxa et al. 2023 (arXiv:2303.03307), eqs. 5 and 6; the bound is by Cauchy and Schwarz.
  """
  checks.at_least("beta", beta, 0.0)

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    require_views("mmcr", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    z = unit(z)
    count = jnp.maximum(jnp.sum(weight), 1.0)
    centroid = nuclear_norm(jnp.mean(z, axis=0))
    within = jnp.sum(nuclear_norm(jnp.swapaxes(z, 0, 1))) / count  # a masked example's norm is 0
    bound = jnp.sqrt(count * jnp.minimum(count, z.shape[-1]))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "centroid_norm": Term(centroid, -1.0),
        "view_norm": Term(within, beta),
      },
      metrics={"capacity_frac": centroid / bound, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, views=2, alone=True)


def nuclear_norm(matrix: Array) -> Array:
  """Sum of singular values, by the eigenvalues of the smaller Gram matrix.

  Formula: sum_i l_i / sqrt(l_i + 1e-7 t), l_i the eigenvalues and t their sum; at most
  sum_i sqrt(l_i), and less by a part of 5e-8 t / l_i of each term.

  Args:
    matrix: [..., n, d] float32.

  Returns:
    [...]; 0, with a finite gradient, of a matrix of zeros.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.representation.mmcr import nuclear_norm
    >>> round(float(nuclear_norm(jnp.diag(jnp.array([3.0, 4.0])))), 4)
    7.0
  """
  n, d = matrix.shape[-2:]
  other = jnp.swapaxes(matrix, -1, -2)
  a, b = (other, matrix) if d <= n else (matrix, other)
  gram = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
  trace = jax.lax.stop_gradient(jnp.trace(gram, axis1=-2, axis2=-1))
  jitter = jnp.maximum(_JITTER * trace, 1e-12)[..., None]
  eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(gram), 0.0)
  return jnp.sum(eigenvalues * jax.lax.rsqrt(eigenvalues + jitter), axis=-1)


def _inputs(z):
  z = jnp.asarray(z, jnp.float32)
  return dict(
    outputs=Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 2)), views=2),
    batch={"y": jnp.zeros(len(z), jnp.int32), "mask": jnp.ones(len(z), bool)},
    label_probs=jnp.array([1.0, 0.0]),
  )


CASES = (
  Case(
    name="views that coincide, examples on orthogonal axes: the bound",
    hyper=dict(beta=1.0),
    inputs=lambda: _inputs([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]]),
    expected=dict(
      centroid_norm=2.0,
      view_norm=math.sqrt(2.0),
      capacity_frac=1.0,
      loss=math.log(2) - 2.0 + math.sqrt(2.0),
    ),
    source="closed form: sqrt(n min(n, d)) = 2; two equal rows have the norm sqrt(2)",
  ),
  Case(
    name="opposite views have no centroid, and one direction",
    hyper=dict(beta=0.5),
    inputs=lambda: _inputs([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0]]),
    expected=dict(centroid_norm=0.0, view_norm=math.sqrt(2.0), capacity_frac=0.0),
    source="closed form",
  ),
)
