"""How much a stochastic code knows of its input: a lower and an upper bound that need no prior.

The variational rate depends on the prior it is taken to, so that two methods' rates are not on
one axis. These two bounds use the encoder's own density, which is known, and nothing learned.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core.numerics import LOG_2PI
from ibjax.core.types import Code

Array = jax.Array


def sandwich(code: Code, mask: Array) -> dict[str, Array]:
  """Bounds I(X;Z) of a Gaussian code from both sides, by the examples of a batch.

  Formula: with q_ij = log q(z_i|x_j) and n examples, lower: mean_i [q_ii - log 1/n sum_j exp
  q_ij] (InfoNCE with the known encoder; at most log n); upper: mean_i [q_ii - log 1/(n-1)
  sum_(j != i) exp q_ij] (leave one out). Both hold in expectation over batches; the upper one is
  far above I(X;Z) where that is beyond log n.

  Args:
    code: with "mean" and "log_scale" [n, d] and "log_prob" [n] in aux: one row per example, of
      which the first `mask.shape[0]` are looked at.
    mask: [n] bool, True where the example counts.

  Returns:
    {"i_xz_infonce_lower_nats": [n], "i_xz_loo_upper_nats": [n]}, whose averages over the mask are
    the bounds, in nats; {} for a code that is not Gaussian. With one example there is no upper
    bound: infinity.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.numerics import gaussian_log_prob
    >>> from ibjax.core.types import Code
    >>> from ibjax.evaluators.rates import sandwich
    >>> mean, log_scale = jnp.array([[0.0], [100.0]]), jnp.zeros((2, 1))
    >>> aux = {"mean": mean, "log_scale": log_scale,
    ...        "log_prob": gaussian_log_prob(mean, mean, log_scale)}
    >>> bounds = sandwich(Code(mean, None, None, aux), jnp.ones(2, bool))
    >>> round(float(bounds["i_xz_infonce_lower_nats"].mean()), 6)  # two inputs told apart: log 2
    0.693147

  Source: Poole et al. 2019 (arXiv:1905.06922), eqs. 10 and 13, with the encoder's density.
  """
  if not {"mean", "log_scale", "log_prob"} <= code.aux.keys():
    return {}
  n = mask.shape[0]
  value = code.value[:n].astype(jnp.float32)
  mean, log_scale = code.aux["mean"][:n], code.aux["log_scale"][:n]
  own = code.aux["log_prob"][:n]
  center = jnp.mean(mean, axis=0)  # products of far numbers lose the small differences
  value, mean = value - center, mean - center
  precision = jnp.exp(-2.0 * log_scale)
  # sum_d (z_id - mu_jd)^2 / s_jd^2 as one product of matrices. As a sum of two of them and a row,
  # XLA (CPU, jax 0.10) compiles it wrongly under `vmap` where s is one number per member.
  own_side = [jnp.square(value), value, jnp.ones((n, 1))]
  last = jnp.sum(jnp.square(mean) * precision, axis=-1, keepdims=True)
  other_side = [precision, -2.0 * mean * precision, last]
  squares = jnp.matmul(
    jnp.concatenate(own_side, axis=-1),
    jnp.concatenate(other_side, axis=-1).T,
    precision=jax.lax.Precision.HIGHEST,
  )
  constant = jnp.sum(2.0 * log_scale + LOG_2PI, axis=-1)
  scores = -0.5 * (jnp.maximum(squares, 0.0) + constant)
  itself = jnp.eye(n, dtype=bool)
  # The diagonal comes from the noise itself, which is exact however small the scale is.
  scores = jnp.where(itself, own[:, None], scores)
  count = jnp.sum(mask, dtype=jnp.float32)
  every = jnp.where(mask[None, :], scores, -jnp.inf)
  others = jnp.where(itself, -jnp.inf, every)
  lower = own - (jax.nn.logsumexp(every, axis=1) - jnp.log(count))
  most = jnp.maximum(count - 1.0, 1.0)
  upper = jnp.where(count > 1.0, own - (jax.nn.logsumexp(others, axis=1) - jnp.log(most)), jnp.inf)
  return {
    "i_xz_infonce_lower_nats": jnp.where(mask, lower, 0.0),
    "i_xz_loo_upper_nats": jnp.where(mask, upper, 0.0),
  }
