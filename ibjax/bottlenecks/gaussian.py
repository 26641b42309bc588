"""Diagonal Gaussian channel with a fixed, learned or mixture prior.

Source: Alemi et al. 2017, "Deep variational information bottleneck" (arXiv:1612.00410).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl, gaussian_log_prob, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array

PRIORS = ("standard", "learned", "mixture")


def gaussian(
  dim: int = 256,
  prior: str = "standard",
  components: int = 10,
  scale_shift: Scalar = -5.0,
  shared_scale: bool = False,
) -> Bottleneck:
  """Adds Gaussian noise whose scale is learned, and charges the KL to a prior.

  Formula: z = mu(x) + sigma(x) eps, sigma = softplus(s(x) + scale_shift), eps ~ N(0, I);
  rate = KL(N(mu, sigma^2) || r(z)) >= I(X;Z) in expectation. r is N(0, I) ("standard"), a
  learned diagonal Gaussian ("learned") or a learned mixture of them ("mixture", whose KL has
  no closed form: the rate is then log q(z|x) - log r(z) at the sampled z, unbiased). With
  `shared_scale` s is a parameter [dim], the same for all inputs, as in the optimum for Gaussian
  data (see `ibjax.exact.gaussian_ib`).

  Args:
    dim: width K of the code.
    prior: "standard", "learned" or "mixture".
    components: number of Gaussians of the mixture prior; unused otherwise.
    scale_shift: added to s before the softplus; -5 starts the training with little noise.
    shared_scale: one noise scale per dimension of the code for all inputs; the encoder then
      gives the means alone.

  Returns:
    A `Bottleneck`: features [n, 2 dim] (means, then scales), or [n, dim] with a shared scale,
    in; `Code` with value [n, dim],
    rate [n] nats, and in aux "mean" and "log_scale" [n, dim] and "log_prob" [n], the log
    density of the value under the encoder.

  Raises:
    InputError: an unknown prior, a size below 1, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.gaussian import gaussian
    >>> channel = gaussian(dim=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, _ = channel.apply(
    ...   params, state, jnp.zeros((3, 4)), key=jax.random.key(1), train=True)
    >>> code.value.shape, code.rate.shape
    ((3, 2), (3,))

  Source: Alemi et al. 2017 (arXiv:1612.00410), eq. 17 and section 4.1.
  """
  checks.at_least("dim", dim, 1)
  checks.one_of("prior", prior, PRIORS)
  checks.at_least("components", components, 1)

  width = dim if shared_scale else 2 * dim

  def init(key):
    noise = {"noise": jnp.zeros(dim)} if shared_scale else {}
    if prior == "standard":
      return noise, {}
    if prior == "learned":
      return {"mean": jnp.zeros(dim), "log_scale": jnp.zeros(dim), **noise}, {}
    return {
      # Components that start at one point get equal gradients and never part.
      "mean": jax.random.normal(rng.stream(key, "prior"), (components, dim)),
      "log_scale": jnp.zeros((components, dim)),
      "logit": jnp.zeros(components),
      **noise,
    }, {}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, width))
    features = features.astype(jnp.float32)
    if shared_scale:
      mean, raw = features, jnp.broadcast_to(params["noise"], features.shape)
    else:
      mean, raw = jnp.split(features, 2, axis=-1)
    raw = raw + scale_shift
    log_scale = log_softplus(raw)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    value = mean + jax.nn.softplus(raw) * noise
    # From the noise itself: (value - mean) / scale loses it when the scale goes to 0.
    log_prob = -0.5 * jnp.sum(jnp.square(noise) + 2.0 * log_scale + LOG_2PI, axis=-1)
    if prior == "standard":
      rate = gaussian_kl(mean, log_scale, jnp.zeros(dim), jnp.zeros(dim))
    elif prior == "learned":
      rate = gaussian_kl(mean, log_scale, params["mean"], params["log_scale"])
    else:
      rate = log_prob - mixture_log_prob(
        value, params["mean"], params["log_scale"], params["logit"]
      )
    aux = {"mean": mean, "log_scale": log_scale, "log_prob": log_prob}
    return Code(value, rate, None, aux), state

  return Bottleneck(features=width, init=init, apply=apply)


def mixture_log_prob(value: Array, mean: Array, log_scale: Array, logit: Array) -> Array:
  """Log density of a mixture of diagonal Gaussians.

  Formula: log sum_k softmax(logit)_k N(z; mean_k, scale_k^2).

  Args:
    value: [n, d].
    mean: [k, d].
    log_scale: [k, d].
    logit: [k] unnormalised log weights.

  Returns:
    [n] in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.bottlenecks.gaussian import mixture_log_prob
    >>> z = jnp.zeros((1, 1))
    >>> round(float(mixture_log_prob(z, z, z, jnp.zeros(1))[0]), 6)
    -0.918939
  """
  log_component = gaussian_log_prob(value[:, None, :], mean, log_scale)
  return jax.nn.logsumexp(log_component + jax.nn.log_softmax(logit), axis=-1)


def _features(mean: float, scale: float, shift: float = -5.0) -> Array:
  """One example of one dimension with the given mean and scale."""
  return jnp.array([[mean, scale + math.log(-math.expm1(-scale)) - shift]])


CASES = (
  Case(
    name="standard prior",
    hyper=dict(dim=1),
    inputs=lambda: dict(features=_features(2.0, 0.5)),
    expected=dict(rate=[0.5 * (4.0 + 0.25 - 1.0) - math.log(0.5)]),
    source="closed form: (m^2 + s^2 - 1) / 2 - log s",
  ),
  Case(
    name="learned prior equal to the encoder pays nothing",
    hyper=dict(dim=1, prior="learned"),
    inputs=lambda: dict(
      params={"mean": jnp.array([2.0]), "log_scale": jnp.log(jnp.array([0.5]))},
      features=_features(2.0, 0.5),
    ),
    expected=dict(rate=[0.0]),
    source="closed form: KL(p || p) = 0",
    rtol=0.5,
  ),
  Case(
    name="one scale for all inputs",
    hyper=dict(dim=1, shared_scale=True, scale_shift=1.0),
    inputs=lambda: dict(
      params={"noise": _features(0.0, 0.5, shift=1.0)[0, 1:]},
      features=jnp.array([[2.0], [0.0]]),
    ),
    expected=dict(rate=[0.5 * (4.0 + 0.25 - 1.0) - math.log(0.5), 0.5 * -0.75 - math.log(0.5)]),
    source="closed form: (m^2 + s^2 - 1) / 2 - log s",
  ),
  Case(
    name="no noise: the rate grows like minus the log scale",
    hyper=dict(dim=1),
    inputs=lambda: dict(features=jnp.array([[0.0, -95.0]])),
    expected=dict(rate=[100.0 - 0.5]),
    source="limit: -log softplus(-100) - 1/2 = 100 - 1/2, where softplus itself underflows",
  ),
  Case(
    name="one mixture component equal to the encoder pays nothing, at any sample",
    hyper=dict(dim=1, prior="mixture", components=1),
    inputs=lambda: dict(
      params={
        "mean": jnp.array([[2.0]]),
        "log_scale": jnp.log(jnp.array([[0.5]])),
        "logit": jnp.zeros(1),
      },
      features=_features(2.0, 0.5),
    ),
    expected=dict(rate=[0.0]),
    source="closed form: log p - log p = 0",
    rtol=1.0,
  ),
)
