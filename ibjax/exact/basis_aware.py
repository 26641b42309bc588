"""Which tokens a model with a softmax bottleneck can be proven to mean, whatever it got wrong.

A language model whose logits are W h cannot reach every distribution, so that its errors put mass
on tokens that the truth gives none. At an optimum in h the errors are orthogonal to W, and that
tells more of the truth than any threshold of the probabilities does.

Source: Finlayson et al. 2024, "Closing the curious case of neural text degeneration"
(arXiv:2310.01693).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from ibjax.core import checks
from ibjax.core.errors import InputError

_FEASIBLE = 1e-7  # HiGHS' own tolerance of a constraint


def output_basis(weights: np.ndarray, bias: np.ndarray | None = None, rank: int = 0) -> np.ndarray:
  """The directions in which a model's errors must vanish at an optimum.

  Formula: the left singular vectors of [W, b] of nonzero singular value, the largest first.

  Fewer directions are less knowledge: what is proven with them is still true, and less is proven.

  Args:
    weights: W [tokens, width] of the last layer.
    bias: [tokens], another column of W.
    rank: how many directions; 0 takes all.

  Returns:
    [tokens, directions], orthonormal columns.

  Raises:
    InputError: a rank above the number of directions, or a bias of another length.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.basis_aware import output_basis
    >>> output_basis(np.ones((4, 1))).round(3).ravel().tolist() in ([0.5] * 4, [-0.5] * 4)
    True

  Source: Finlayson et al. 2024 (arXiv:2310.01693), who use a few leading directions for speed.
  """
  checks.shape("weights", weights, ("tokens", "width"))
  columns = np.asarray(weights, np.float64)
  if bias is not None:
    checks.shape("bias", bias, (len(columns),))
    columns = np.concatenate([columns, np.asarray(bias, np.float64)[:, None]], axis=1)
  u, s, _ = np.linalg.svd(columns, full_matrices=False)
  kept = int(np.sum(s > s[0] * max(columns.shape) * np.finfo(np.float64).eps))
  if rank < 0 or rank > kept:
    raise InputError(f"rank={rank}, but the last layer has {kept} directions; use at most these.")
  return u[:, : rank or kept]


def least_probability(
  token: int, probs: np.ndarray, basis: np.ndarray, delta: float = np.inf
) -> float:
  """The least probability that the truth can give a token, of all truths the model allows for.

  Formula: min p_i subject to p >= 0, sum p = 1, B^T p = B^T phat and p <= exp(delta) phat: a
  linear program.

  Args:
    token: i.
    probs: phat [tokens], the model's probabilities.
    basis: B [tokens, directions], see `output_basis`.
    delta: nats by which the model may underestimate a log probability, > 0; infinite puts no
      limit.

  Returns:
    A probability; above 0 the token is in the support of the truth.

  Raises:
    InputError: shapes that do not fit, a token that is none, probabilities that do not sum to one,
      a delta that is not positive, or a program that the solver gives up.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.basis_aware import least_probability
    >>> probs = np.array([0.5, 0.3, 0.2])
    >>> round(least_probability(0, probs, np.eye(3)), 6)  # nothing is hidden: the model is right
    0.5

  Source: Finlayson et al. 2024 (arXiv:2310.01693), the program of basis-aware truncation. That the
  limit by delta is theirs is from memory; it follows from the same assumption as `accepted`.
  """
  probs = _checked(probs, basis, delta)
  if not 0 <= token < len(probs):
    raise InputError(f"token={token}, but there are {len(probs)} tokens, from 0 on.")
  most = np.minimum(np.exp(delta) * probs, 1.0) if np.isfinite(delta) else np.ones(len(probs))
  cost = np.zeros(len(probs))
  cost[token] = 1.0
  sums = np.concatenate([np.ones((1, len(probs))), np.asarray(basis, np.float64).T])
  solved = linprog(
    cost,
    A_eq=sums,
    b_eq=sums @ probs,
    bounds=np.stack([np.zeros(len(probs)), most], axis=1),
    method="highs",
  )
  if solved.fun is None:  # phat itself satisfies all constraints
    raise InputError(f"the linear program of token {token} was not solved: {solved.message}")
  return float(solved.fun)


def accepted(probs: np.ndarray, delta: float) -> np.ndarray:
  """Tokens that a threshold proves to be meant, without a program.

  Formula: phat_i > 1 - exp(-delta). Were p_i = 0, then 1 = sum_{j != i} p_j <= exp(delta)
  (1 - phat_i).

  Args:
    probs: phat [..., tokens].
    delta: nats by which the model may underestimate a log probability, > 0.

  Returns:
    [..., tokens] bool.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.basis_aware import accepted
    >>> accepted(np.array([0.5, 0.3, 0.2]), np.log(4 / 3)).tolist()
    [True, True, False]

  Source: Finlayson et al. 2024 (arXiv:2310.01693), theorem on threshold truncation; proven above.
  """
  checks.at_least("delta", delta, 0.0, strict=True)
  return np.asarray(probs) > -np.expm1(-delta)


def support(
  probs: np.ndarray, basis: np.ndarray, delta: float = np.inf, tolerance: float = 1e-6
) -> np.ndarray:
  """Tokens that are proven to be in the support of the truth: one linear program for each.

  Use it to truncate: what is left out may still be meant, what is kept is (where the assumptions
  hold: the last hidden state is free, and at its optimum).

  Args:
    probs: phat [tokens].
    basis: B [tokens, directions], see `output_basis`.
    delta: nats of underestimation, see `least_probability`.
    tolerance: what least probability counts as none; the solver's own error is about 1e-7.

  Returns:
    [tokens] bool.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.basis_aware import support
    >>> support(np.array([0.5, 0.3, 0.2]), np.ones((3, 1)), delta=np.log(2)).tolist()
    [False, False, False]

  Source: Finlayson et al. 2024 (arXiv:2310.01693).
  """
  probs = _checked(probs, basis, delta)
  checks.at_least("tolerance", tolerance, _FEASIBLE)
  found = accepted(probs, delta)
  for token in np.flatnonzero(~found):
    found[token] = least_probability(int(token), probs, basis, delta) > tolerance
  return found


def sample(
  rng: np.random.Generator,
  probs: np.ndarray,
  basis: np.ndarray,
  delta: float = np.inf,
  tolerance: float = 1e-6,
) -> int:
  """Draws a token of the truncated distribution, solving only for tokens that are drawn.

  Formula: draw i of phat; keep it if it is accepted by the threshold or by its program, else draw
  again of the rest. That is phat restricted to `support` and normalised. Where nothing is proven,
  the most likely token.

  Args:
    rng: numpy's.
    probs: phat [tokens].
    basis: B [tokens, directions], see `output_basis`.
    delta: nats of underestimation, see `least_probability`.
    tolerance: see `support`.

  Returns:
    A token.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.basis_aware import sample
    >>> sample(np.random.default_rng(0), np.array([1.0, 0.0]), np.eye(2))
    0

  Source: Finlayson et al. 2024 (arXiv:2310.01693).
  """
  probs = _checked(probs, basis, delta)
  checks.at_least("tolerance", tolerance, _FEASIBLE)
  known, left = accepted(probs, delta), probs.copy()
  while left.sum() > 0:
    token = int(rng.choice(len(left), p=left / left.sum()))
    if known[token] or least_probability(token, probs, basis, delta) > tolerance:
      return token
    left[token] = 0.0
  return int(np.argmax(probs))


def _checked(probs: np.ndarray, basis: np.ndarray, delta: float) -> np.ndarray:
  checks.shape("probs", probs, (None,))
  checks.shape("basis", basis, (len(probs), None))
  checks.at_least("delta", delta, 0.0, strict=True)
  probs = np.asarray(probs, np.float64)
  if not np.all(probs >= 0) or abs(probs.sum() - 1.0) > 1e-4:
    raise InputError(f"probs must be at least 0 and sum to one; they sum to {probs.sum():g}.")
  return probs / probs.sum()
