"""What a last layer that is narrower than its vocabulary costs a language model.

Source: Yang et al. 2018, "Breaking the softmax bottleneck" (arXiv:1711.03953); Godey et al. 2024,
"Why do small language models underperform?" (arXiv:2404.07647).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.numerics import entropy

Array = jax.Array


def matrix_rank(matrix: Any) -> int:
  """The numerical rank of a matrix of logits, or of log probabilities.

  Formula: #{s_i > s_1 max(n, V) eps}, eps the rounding of the matrix's own type. Logits W h have
  rank at most d, and log probabilities d + 1: each row is shifted by one number.

  Args:
    matrix: [n, V], float32 or float64.

  Returns:
    The rank.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.softmax_bottleneck import matrix_rank
    >>> matrix_rank(np.outer(np.arange(5.0), np.arange(7.0)))
    1

  Source: Yang et al. 2018 (arXiv:1711.03953), corollary 1.
  """
  checks.shape("matrix", matrix, (None, None))
  matrix = np.asarray(matrix)
  eps = np.finfo(matrix.dtype if matrix.dtype.kind == "f" else np.float64).eps
  values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
  return int(np.sum(values > values[0] * max(matrix.shape) * eps))


def tail(matrix: Any) -> np.ndarray:
  """The least Frobenius error of any matrix of each rank.

  Formula: e(r) = sqrt(sum_{i > r} s_i^2), r = 0, 1, ...

  Args:
    matrix: [n, V].

  Returns:
    [min(n, V) + 1], from the error of rank 0 to 0.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.softmax_bottleneck import tail
    >>> tail(np.diag([4.0, 3.0])).tolist()
    [5.0, 3.0, 0.0]

  Source: Eckart and Young 1936.
  """
  checks.shape("matrix", matrix, (None, None))
  values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
  return np.sqrt(np.append(np.cumsum(values[::-1] ** 2)[::-1], 0.0))


def singular_entropy(weights: Any) -> Array:
  """How far the singular values of a layer are from being all alike, in nats.

  Formula: KL(p || uniform) = log k - H(p), p_i = s_i / sum s; 0 where all are alike, log k where
  one is left. It rises when a head degenerates.

  Args:
    weights: [V, d] of the last layer.

  Returns:
    Nats, a scalar.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.softmax_bottleneck import singular_entropy
    >>> round(float(singular_entropy(jnp.eye(3))), 4)
    0.0
    >>> round(float(singular_entropy(jnp.ones((4, 4)))), 3)
    1.386

  Source: Godey et al. 2024 (arXiv:2404.07647), section 4; that they normalise the singular values,
  and not their squares, is from memory.
  """
  checks.shape("weights", weights, (None, None))
  values = jnp.linalg.svd(jnp.asarray(weights, jnp.float32), compute_uv=False)
  p = values / jnp.sum(values)
  return jnp.maximum(0.0, np.log(p.shape[0]) - entropy(p))


def anisotropy(hidden: Any) -> float:
  """The mean cosine between pairs of hidden states.

  Formula: (|sum_i u_i|^2 - n) / (n (n - 1)), u_i = h_i / |h_i|. 1 where all point one way, about 0
  for directions at random.

  Args:
    hidden: [n, d], n at least 2.

  Returns:
    In [-1/(n-1), 1].

  Raises:
    InputError: fewer than two states.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.softmax_bottleneck import anisotropy
    >>> anisotropy(np.array([[1.0, 0.0], [0.0, 2.0]])), anisotropy(np.ones((3, 2))).__round__(6)
    (0.0, 1.0)

  Source: Godey et al. 2024 (arXiv:2404.07647), section 3; Ethayarajh 2019 (arXiv:1909.00512).
  """
  checks.shape("hidden", hidden, (None, None))
  hidden = np.asarray(hidden, np.float64)
  n = len(hidden)
  if n < 2:
    raise InputError("anisotropy compares pairs of hidden states; got fewer than two.")
  unit = hidden / np.maximum(np.linalg.norm(hidden, axis=1, keepdims=True), 1e-300)
  return float((np.sum(np.square(unit.sum(axis=0))) - n) / (n * (n - 1)))


class Saturation(NamedTuple):
  """What a loss curve says of the end of training.

  Attributes:
    best: the least loss.
    best_at: the index of it.
    lost: the last loss less the best: what the end of training undid.
  """

  best: float
  best_at: int
  lost: float


def saturation(losses: Any) -> Saturation:
  """Whether a model got worse at the end of its training, as narrow ones do.

  Args:
    losses: [k] losses on held-out data at rising steps, in nats.

  Returns:
    A `Saturation`.

  Raises:
    InputError: no losses, or one that is not finite.

  Example:
    >>> from ibjax.evaluators.softmax_bottleneck import saturation
    >>> saturation([3.0, 2.0, 2.25])
    Saturation(best=2.0, best_at=1, lost=0.25)

  Source: Godey et al. 2024 (arXiv:2404.07647), section 2, who compare with a fitted law: `excess`.
  """
  losses = np.asarray(losses, np.float64)
  if losses.ndim != 1 or not len(losses) or not np.all(np.isfinite(losses)):
    raise InputError(f"losses have shape {list(losses.shape)}, expected [k] finite numbers.")
  at = int(np.argmin(losses))
  return Saturation(float(losses[at]), at, float(losses[-1] - losses[at]))


def excess(sizes: Any, losses: Any, fitted: int = 3) -> np.ndarray:
  """How much worse models are than the power law of the largest ones says.

  Formula: log loss = a + b log size by least squares over the `fitted` largest; loss - exp(a + b
  log size) of all.

  Args:
    sizes: [k] parameters, or widths.
    losses: [k] nats.
    fitted: how many of the largest make the law.

  Returns:
    [k] nats; positive where the law promised better.

  Raises:
    InputError: fewer sizes than are to be fitted, or values that are not positive.

  Example:
    >>> from ibjax.evaluators.softmax_bottleneck import excess
    >>> (0.0 + excess([1, 2, 4, 8], [9.0, 4.0, 2.0, 1.0]).round(6)).tolist()
    [1.0, 0.0, 0.0, 0.0]

  Source: Godey et al. 2024 (arXiv:2404.07647), section 2: a law of three large models is about 8%
  too optimistic of the small ones.
  """
  sizes, losses = np.asarray(sizes, np.float64), np.asarray(losses, np.float64)
  checks.shape("losses", losses, sizes.shape)
  checks.at_least("fitted", fitted, 2)
  if len(sizes) < fitted or np.any(sizes <= 0) or np.any(losses <= 0):
    raise InputError(
      f"excess fits {fitted} sizes; got {len(sizes)}, all of which must be positive."
    )
  largest = np.argsort(sizes)[-fitted:]
  slope, start = np.polyfit(np.log(sizes[largest]), np.log(losses[largest]), 1)
  return losses - np.exp(start + slope * np.log(sizes))


def constrained_head(
  hidden: Any,
  targets: Any,
  tokens: int,
  rank: int,
  steps: int = 500,
  learning_rate: float = 0.05,
  seed: int = 0,
) -> float:
  """Trains a head of a given rank on hidden states that do not change.

  Formula: logits h A B, A [d, rank], B [rank, V], by Adam with a cosine schedule on the mean
  cross-entropy of all states at once. How the loss falls with the rank says how many dimensions
  the next token needs of a state that is wide enough.

  Args:
    hidden: [n, d] of a model, e.g. what enters its last layer.
    targets: [n] int, the tokens that followed.
    tokens: V.
    rank: of the head, 1..min(d, V).
    steps: of Adam.
    learning_rate: at its peak.
    seed: of the first A and B.

  Returns:
    The cross-entropy in nats after training, on the states given.

  Raises:
    InputError: a rank above the dimension, targets of another length, or no state.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.softmax_bottleneck import constrained_head
    >>> states, targets = np.eye(3), np.arange(3)
    >>> constrained_head(states, targets, 3, rank=3) < 0.01
    True

  Source: Godey et al. 2024 (arXiv:2404.07647), section 5.
  """
  checks.shape("hidden", hidden, ("n", "d"))
  checks.shape("targets", targets, (len(hidden),))
  checks.at_least("steps", steps, 1)
  width = np.shape(hidden)[1]
  if not 1 <= rank <= min(width, tokens):
    raise InputError(
      f"rank={rank} must lie in 1..{min(width, tokens)}: a head from {width} dimensions to "
      f"{tokens} tokens has no higher one."
    )
  keys = jax.random.split(jax.random.key(seed))
  params = (
    jax.random.normal(keys[0], (width, rank)) / np.sqrt(width),
    jax.random.normal(keys[1], (rank, tokens)) / np.sqrt(rank),
  )
  schedule = optax.cosine_decay_schedule(learning_rate, steps)
  return float(
    _fit_head(params, jnp.asarray(hidden, jnp.float32), jnp.asarray(targets), schedule, steps)
  )


def _fit_head(params: Any, hidden: Array, targets: Array, schedule: Any, steps: int) -> Array:
  chain = optax.adam(schedule)

  def loss(params):
    logits = jnp.matmul(hidden @ params[0], params[1])
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets))

  @jax.jit
  def run(params):
    def body(carry, _):
      params, state = carry
      updates, state = chain.update(jax.grad(loss)(params), state)
      return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(body, (params, chain.init(params)), None, length=steps)
    return loss(params)

  return run(params)
