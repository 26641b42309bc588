"""CLUB: the contrastive log-ratio upper bound with a conditional that is given.

Source: Cheng et al. 2020, "CLUB: a contrastive log-ratio upper bound of mutual information"
(arXiv:2006.12013).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base import bounds
from ibjax.estimators.base.conditional import linear_gaussian
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.splits import centre

Array = jax.Array


def club(log_q: Callable[[Array, Array], Array] = linear_gaussian, k: int = 1024) -> Estimator:
  """Estimates an upper bound on I(X;Y) from a given conditional, without training.

  Formula: mean_i log q(y_i | x_i) - mean_(i != j) log q(y_j | x_i).

  With q = p(y | x), e.g. the density of a stochastic encoder, it is an upper bound, unbiased, and
  loose: d rho^2 / (1 - rho^2) for d pairs of Gaussians of correlation rho, where I is
  -d/2 log(1 - rho^2). The default q is the linear regression with Gaussian residuals of each
  block: exact for jointly Gaussian data, and for others no bound. `vclub` learns q instead.

  Args:
    log_q: `log_q(x [k, dx], y [k, dy]) -> [k, k]` nats, log q(y_j | x_i), traceable.
    k: rows of a block, all pairs of which are looked at.

  Returns:
    An `Estimator` of an upper bound on I(X;Y) (given a true q); diagnostics: k.

  Raises:
    InputError: k below 2.

  Example:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from ibjax.estimators.variational.club import club
    >>> def log_q(x, y):  # N(x, 1), up to a constant that cancels
    ...   return -0.5 * jnp.square(y[:, 0] - x)
    >>> x = np.array([[0.0], [2.0]])
    >>> club(log_q)(x, x).nats
    2.0

  Source: Cheng et al. 2020, theorem 3.1; pairs i = j left out of the second term, which makes it
    unbiased.
  """
  checks.at_least("k", k, 2)

  def value(x, y, z, key):
    n = len(x)
    blocks = -(-n // k)
    size = n // blocks
    if log_q is linear_gaussian:  # which does not mind, and rounds less
      x, y = centre(x), centre(y)
    cut = tuple(jnp.asarray(a, jnp.float32)[: size * blocks] for a in (x, y))
    cut = tuple(a.reshape(blocks, size, -1) for a in cut)
    values = jax.lax.map(lambda block: bounds.club(log_q(*block)), cut)
    stderr = jnp.std(values, ddof=1) / math.sqrt(blocks) if blocks > 1 else None
    return Value(jnp.mean(values), stderr=stderr, extra={"k": size})

  return Estimator(
    name="club",
    value=value,
    bound="upper",
    interval="none",
    no_interval="the spread is the error of the bound, not its distance from I",
    jittable=True,
    invariances=("translation", "affine") if log_q is linear_gaussian else (),
    bounded_by_entropy=False,
  )


def _shifted(x, y):
  """N(x, 1), up to a constant that cancels."""
  return -0.5 * jnp.sum(jnp.square(y[None, :, :] - x[:, None, :]), axis=2)


CASES = (
  Case(
    name="the default, of an exact line",
    hyper=dict(k=8),
    inputs=lambda: dict(
      x=np.array([[-1.0], [-1.0], [1.0], [1.0]]), y=np.array([[-3.0], [-1.0], [1.0], [3.0]])
    ),
    expected=dict(nats=16.0 / 3.0, k=4),
    source="closed form: y = 2 x with residuals of variance 1; mean squares of 1 for the pairs, "
    "of 1, 9 and 25 for the others",
    rtol=1e-4,
  ),
  Case(
    name="a given conditional",
    hyper=dict(log_q=_shifted),
    inputs=lambda: dict(x=np.array([[0.0], [2.0], [5.0]]), y=np.array([[1.0], [2.0], [5.0]])),
    expected=dict(nats=-1.0 / 6.0 + (4.0 + 25.0 + 1.0 + 9.0 + 16.0 + 9.0) / 12.0),
    source="closed form: half the squared distances of the pairs and of the others",
  ),
)
TRUTHS = (
  # 0.5625 with the true conditional, where I is 0.2231.
  Truth("gaussian:d=1,rho=0.6", 4000, 0.5),
  Truth("gaussian:d=3,rho=0.3", 4000, 0.25),
)
