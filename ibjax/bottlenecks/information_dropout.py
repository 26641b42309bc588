"""Multiplicative noise whose amount is learned for each input: dropout with a price.

Source: Achille and Soatto 2018, "Information dropout: learning optimal representations through
noisy computation" (IEEE TPAMI 40(12), arXiv:1611.01353).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import gaussian_kl, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar


def information_dropout(
  dim: int = 32, max_scale: Scalar = 1.0, scale_shift: Scalar = -2.0
) -> Bottleneck:
  """Multiplies positive activations with log-normal noise, and charges the KL to a prior.

  Formula: z_d = f_d(x) e_d, f = softplus(a(x)), log e_d ~ N(0, alpha_d(x)^2), alpha = max_scale
  sigmoid(s(x) + scale_shift); rate = sum_d KL(N(log f_d, alpha_d^2) || N(m_d, v_d^2)) >= I(X;Z)
  in expectation, r(z) = logN(m, v^2) learned. The KL of log-normals is that of their logarithms.

  Use it where dropout is wanted on the axis of rates: with a beta of 0 it is Gaussian dropout with
  learned amounts, and beta prices what the noise lets through. In evaluation the noise is drawn as
  in training, since without it the code would tell more than its rate says; `config.eval.samples`
  averages over draws.

  Args:
    dim: width of the code.
    max_scale: largest standard deviation of the noise's logarithm, > 0; may be traced. Noise
      without a bound has gradients without one.
    scale_shift: added to s before the sigmoid; -2 starts with an eighth of the largest noise.

  Returns:
    A `Bottleneck`: features [n, 2 dim] in, activations and then noise; `Code` with value [n, dim],
    all positive, rate [n] nats, and in aux "log_mean" and "log_scale" [n, dim] of log z.

  Raises:
    InputError: a dim below 1, a max_scale of 0 or less, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.information_dropout import information_dropout
    >>> channel = information_dropout(dim=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(
    ...   params, state, jnp.zeros((3, 4)), key=jax.random.key(1), train=True)
    >>> bool((code.value > 0).all()), code.rate.shape
    (True, (3,))

  Source: Achille and Soatto 2018 (arXiv:1611.01353), section 4, the softplus activation with a
  log-normal prior. The bound on the noise follows its experiments; the value and the prior's
  being learned are ours.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("max_scale", max_scale, 0.0, strict=True)

  def init(key):
    del key
    return {"prior_mean": jnp.zeros(dim), "prior_log_scale": jnp.zeros(dim)}, {}

  def apply(params, state, features, *, key, train):
    del train
    checks.shape("features", features, (None, 2 * dim))
    activation, raw = jnp.split(features.astype(jnp.float32), 2, axis=-1)
    mean = log_softplus(activation)
    log_scale = jnp.log(jnp.asarray(max_scale, jnp.float32)) + jax.nn.log_sigmoid(raw + scale_shift)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    value = jnp.exp(mean + jnp.exp(log_scale) * noise)
    rate = gaussian_kl(mean, log_scale, params["prior_mean"], params["prior_log_scale"])
    return Code(value, rate, None, {"log_mean": mean, "log_scale": log_scale}), state

  return Bottleneck(features=2 * dim, init=init, apply=apply)


# softplus(log(e - 1)) = 1, whose logarithm is 0; sigmoid(0) = 1/2.
_ONE = math.log(math.e - 1.0)

CASES = (
  Case(
    name="noise of half the largest, before the prior has moved",
    hyper=dict(dim=1, max_scale=1.0, scale_shift=0.0),
    inputs=lambda: dict(features=jnp.array([[_ONE, 0.0]])),
    expected=dict(rate=[0.5 * (0.25 - 1.0) + math.log(2.0)]),
    source="closed form: KL(N(0, 1/4) || N(0, 1)) = (1/4 - 1) / 2 + log 2",
  ),
  Case(
    name="a prior equal to the encoder pays nothing",
    hyper=dict(dim=1, max_scale=0.5, scale_shift=0.0),
    inputs=lambda: dict(
      params={
        "prior_mean": jnp.zeros(1),
        "prior_log_scale": jnp.array([-math.log(4.0)]),
      },
      features=jnp.array([[_ONE, 0.0]]),
    ),
    expected=dict(rate=[0.0]),
    source="closed form: KL(p || p) = 0",
    rtol=0.5,
  ),
  Case(
    name="a large activation is its own size",
    hyper=dict(dim=1, max_scale=1e-6, scale_shift=-30.0),
    inputs=lambda: dict(features=jnp.array([[30.0, 0.0]])),
    expected=dict(value=[[30.0]]),
    source="limit: softplus(30) = 30 to 1e-13, and noise of 1e-19",
  ),
)
