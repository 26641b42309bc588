"""Local rank: how many directions of the input a layer still tells apart.

Source: "local rank" of layers and the information bottleneck (arXiv:2410.07687).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.contract import Estimator

Array = jax.Array


def _identity(x: Array) -> Array:
  return x


def local_rank(
  function: Callable[[Array], Array] = _identity,
  relative: Scalar = 1e-3,
  absolute: Scalar = 0.0,
  batch_size: int = 64,
) -> Estimator:
  """Averages over inputs the numerical rank of the Jacobian of a layer.

  Formula: E_x #{i : s_i(x) > max(absolute, relative * s_1(x))}, with s_1 >= s_2 >= ... the
  singular values of the Jacobian d function / d x at x.

  The estimate's `nats` holds the average rank, a number of dimensions. It needs the function, not
  samples of its output: give the map from one input [d] to the pre-activations [k] of the layer,
  with the parameters closed over. Use it to follow compression in training. Bias: none beside the
  spread over inputs; but the value depends on the threshold. A relative one does not see that all
  weights grow, an absolute one does; the paper does not hold to one value, so state yours.

  Args:
    function: one input [d] -> [k], differentiable by JAX; the identity when left out.
    relative: threshold over the largest singular value of the same input, in [0, 1); may be
      traced.
    absolute: threshold in the units of the Jacobian, >= 0; may be traced.
    batch_size: inputs whose Jacobians are held at once.

  Returns:
    An `Estimator` of the inputs x [n, d]; `local` holds the rank at each input, and the
    diagnostics "largest", "median" and "smallest" singular value, averaged over inputs.

  Raises:
    InputError: a threshold out of its range; when called, a function whose output is not [k].

  Example:
    >>> import jax.numpy as jnp, numpy as np
    >>> from ibjax.estimators.spectral.local_rank import local_rank
    >>> weights = jnp.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])  # of rank 2
    >>> local_rank(lambda x: weights @ x)(np.zeros((5, 3))).nats
    2.0

  Source: arXiv:2410.07687 (local rank of the pre-activations). The relative threshold is ours.
  """
  checks.between("relative", relative, 0.0, 1.0, open_high=True)
  checks.at_least("absolute", absolute, 0.0)
  checks.at_least("batch_size", batch_size, 1)

  def spectrum(x):
    k = jax.eval_shape(function, x).shape
    checks.shape("the output of function for one input", np.empty(k), (None,))
    jacobian = jax.jacfwd(function) if len(x) <= k[0] else jax.jacrev(function)
    return jnp.linalg.svd(jacobian(x), compute_uv=False)

  def value(x, y, z, key) -> Value:
    # Not centred: the function is asked at the inputs themselves.
    values = jax.lax.map(spectrum, jnp.asarray(x, jnp.float32), batch_size=batch_size)
    limit = jnp.maximum(absolute, relative * values[:, :1])
    ranks = jnp.sum(values > limit, axis=1, dtype=jnp.float32)
    middle = values[:, values.shape[1] // 2]
    return Value(
      jnp.mean(ranks),
      local=ranks,
      stderr=jnp.std(ranks) / math.sqrt(len(ranks)),
      extra={
        "largest": jnp.mean(values[:, 0]),
        "median": jnp.mean(middle),
        "smallest": jnp.mean(values[:, -1]),
      },
    )

  return Estimator(
    name="local_rank",
    value=value,
    y="none",
    quantity="dimension",
    no_interval="ranks are whole numbers and often all the same; see local and stderr",
    invariances=("rows",),
    jittable=True,
    min_n=1,
  )


def _rotated() -> np.ndarray:
  angle = 0.3
  return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


CASES = (
  Case(
    name="the identity of three columns",
    hyper=dict(),
    inputs=lambda: dict(x=np.arange(6.0).reshape(2, 3)),
    expected=dict(nats=3.0, largest=1.0, smallest=1.0),
    source="closed form",
  ),
  Case(
    name="a ReLU that is off for one input of two",
    hyper=dict(function=jax.nn.relu),
    inputs=lambda: dict(x=np.array([[1.0, 1.0], [1.0, -1.0]])),
    expected=dict(nats=1.5),
    source="closed form: ranks 2 and 1",
  ),
  Case(
    name="singular values 1 and 1/100, relative threshold below and above",
    hyper=dict(function=lambda x: jnp.array(_rotated()) @ (x * jnp.array([1.0, 0.01]))),
    inputs=lambda: dict(x=np.ones((2, 2))),
    expected=dict(nats=2.0, largest=1.0, smallest=0.01),
    source="closed form",
  ),
  Case(
    name="the same, absolute threshold",
    hyper=dict(
      function=lambda x: jnp.array(_rotated()) @ (x * jnp.array([1.0, 0.01])), absolute=0.1
    ),
    inputs=lambda: dict(x=np.ones((2, 2))),
    expected=dict(nats=1.0),
    source="closed form",
  ),
)
TRUTHS = ()
