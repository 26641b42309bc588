"""Late fusion of several views: the product of one Gaussian a view and the prior.

Source: Wu and Goodman 2018, "Multimodal generative models for scalable weakly-supervised
learning" (arXiv:1802.05335), for the product; as the encoder of a variational bottleneck of
several views, Lee and van der Schaar 2021, "A variational information bottleneck approach to
multi-omics data integration" (arXiv:2102.03014).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array


def product_of_experts(dim: int = 16, experts: int = 2, scale_shift: Scalar = -1.0) -> Bottleneck:
  """Multiplies what each view says of the code, and the prior, into one Gaussian.

  Formula: p(z|x) proportional to N(z; 0, I) prod_v N(z; mu_v(x_v), s_v(x_v)^2): precision
  1/s^2 = 1 + sum_v 1/s_v^2 and mean mu = s^2 sum_v mu_v / s_v^2, in each dimension;
  s_v = softplus(raw + scale_shift); z = mu + s eps; rate = KL(N(mu, s^2) || N(0, I)) >= I(X;Z)
  in expectation. A view that knows nothing of a dimension has a large s_v there and is not heard.

  The encoder is one network a view: `ibjax.models.per_feature_mlp` with the views' widths.

  Args:
    dim: width of the code.
    experts: number of views.
    scale_shift: added to the raw scale before the softplus; may be traced.

  Returns:
    A `Bottleneck`: features [n, 2 experts dim] in, the means of all views and then the scales;
    `Code` with value [n, dim], rate [n] nats, and in aux "mean" and "log_scale" [n, dim] of the
    product, "log_prob" [n], and "expert_rate" [n, experts] nats, the KL of each view with the
    prior alone.

  Raises:
    InputError: a size below 1, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.product_of_experts import product_of_experts
    >>> channel = product_of_experts(dim=2, experts=3)
    >>> features = jnp.zeros((5, channel.features))
    >>> code, _ = channel.apply({}, {}, features, key=jax.random.key(1), train=True)
    >>> code.value.shape, code.aux["expert_rate"].shape
    ((5, 2), (5, 3))

  Source: Wu and Goodman 2018 (arXiv:1802.05335), section 2.2: the product of Gaussians; Lee and
  van der Schaar 2021 (arXiv:2102.03014).
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("experts", experts, 1)
  width = 2 * experts * dim

  def init(key):
    del key
    return {}, {}

  def apply(params, state, features, *, key, train):
    del train
    checks.shape("features", features, (None, width))
    parts = features.astype(jnp.float32).reshape(-1, 2, experts, dim)
    means, logs = parts[:, 0], log_softplus(parts[:, 1] + scale_shift)
    zero = jnp.zeros(dim)

    def product(means, logs):
      # In the logarithm: a scale of 1e-30 has a precision beyond float32. Entry 0 is the prior.
      logs = jnp.concatenate([jnp.zeros_like(logs[:, :1]), logs], axis=1)
      log_precision = jax.nn.logsumexp(-2.0 * logs, axis=1)
      shares = jnp.exp(-2.0 * logs - log_precision[:, None])
      return jnp.sum(shares[:, 1:] * means, axis=1), -0.5 * log_precision

    mean, log_scale = product(means, logs)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    value = mean + jnp.exp(log_scale) * noise
    alone = [product(means[:, v : v + 1], logs[:, v : v + 1]) for v in range(experts)]
    aux = {
      "mean": mean,
      "log_scale": log_scale,
      "log_prob": -0.5 * jnp.sum(jnp.square(noise) + 2.0 * log_scale + LOG_2PI, axis=-1),
      "expert_rate": jnp.stack([gaussian_kl(m, s, zero, zero) for m, s in alone], axis=-1),
    }
    return Code(value, gaussian_kl(mean, log_scale, zero, zero), None, aux), state

  return Bottleneck(features=width, init=init, apply=apply)


def _raw(scale: float, shift: float = -1.0) -> float:
  return scale + math.log(-math.expm1(-scale)) - shift


CASES = (
  Case(
    name="two experts of precision 1 and 2, and the prior",
    hyper=dict(dim=1, experts=2),
    inputs=lambda: dict(features=jnp.array([[2.0, 1.0, _raw(1.0), _raw(0.5**0.5)]])),
    # Precision 1 + 1 + 2 = 4, mean (2 + 2 1) / 4 = 1.
    expected=dict(rate=[0.5 * (1.0 + 0.25 - 1.0) + 0.5 * math.log(4.0)]),
    source="closed form: the KL of N(1, 1/4) with N(0, 1)",
  ),
  Case(
    name="experts without an opinion leave the prior",
    hyper=dict(dim=1, experts=2),
    inputs=lambda: dict(features=jnp.array([[3.0, -3.0, 1e6, 1e6]])),
    expected=dict(rate=[0.0]),
    source="limit: infinite scales",
    rtol=1.0,
  ),
)
