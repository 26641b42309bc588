"""Gaussian channel with automatic relevance determination and an orthogonal projection.

Source: Fang et al. 2025, "Task-oriented communications for visual navigation with edge-aerial
collaboration in low altitude economy" (arXiv:2504.18317), the encoder of O-VIB.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array


def ard_gaussian(
  dim: int = 64,
  threshold_nats: Scalar = 0.01,
  decay: Scalar = 0.98,
  scale_shift: Scalar = -5.0,
) -> Bottleneck:
  """Gives each dimension a prior variance of its own, and sends only those that carry something.

  Formula: mu = W m(x), z = mu + s(x) eps, s = softplus(raw + scale_shift); rate = sum_d KL_d,
  KL_d = KL(N(mu_d, s_d^2) || N(0, alpha_d)), alpha learned: its optimum is
  alpha_d = E[mu_d^2 + s_d^2], where E[KL_d] = log(alpha_d)/2 - E[log s_d]. Orthogonality is
  ||W W' - I||_F^2. In evaluation z_d is 0 unless E[KL_d], a moving average over training batches,
  is at least threshold_nats.

  Assumption: the paper's text gives pruning by the learned alpha_d. A threshold on alpha_d alone
  depends on the scale that the decoder happens to use (alpha_d and s_d^2 may grow together at no
  cost), so a dimension is judged here by its rate, which is the ratio of the two. With one alpha
  for all inputs the rate is at least the per-example form log(1 + mu_d^2 / s_d^2) / 2.

  Args:
    dim: width of the code before pruning.
    threshold_nats: least average rate of a dimension that is sent in evaluation, >= 0; may be
      traced. 0 sends all.
    decay: of the moving average of the rates, a batch, in [0, 1); may be traced.
    scale_shift: added to the raw scale before the softplus; may be traced.

  Returns:
    A `Bottleneck`: features [n, 2 dim] in, means before the projection and then scales; `Code`
    with value [n, dim], rate [n] nats of what is sent, and in aux "mean" and "log_scale" [n, dim],
    "log_prob" [n], "orthogonality", a scalar, and "active" [dim] bool, the dimensions that
    evaluation sends.

  Raises:
    InputError: a value out of range, or features of another width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.ard_gaussian import ard_gaussian
    >>> channel = ard_gaussian(dim=2)
    >>> params, state = channel.init(jax.random.key(0))
    >>> code, state = channel.apply(
    ...   params, state, jnp.zeros((3, 4)), key=jax.random.key(1), train=True)
    >>> code.rate.shape, float(code.aux["orthogonality"]) < 1e-9
    ((3,), True)

  Source: Fang et al. 2025 (arXiv:2504.18317), the orthogonally constrained encoder with automatic
  relevance determination; the prior N(0, alpha_d) and the form of the penalty are assumed from its
  description, since the published code has neither.
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("threshold_nats", threshold_nats, 0.0)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)

  def init(key):
    del key
    params = {"projection": jnp.eye(dim), "log_alpha": jnp.zeros(dim)}
    return params, {"rate": jnp.zeros(dim), "seen": jnp.float32(0.0)}

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, 2 * dim))
    means, raw = jnp.split(features.astype(jnp.float32), 2, axis=-1)
    mean = means @ params["projection"].T
    log_scale = log_softplus(raw + scale_shift)
    log_prior = jnp.broadcast_to(0.5 * params["log_alpha"], mean.shape)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    # The average starts at 0; its weights so far add up to `seen`.
    active = state["rate"] >= threshold_nats * state["seen"]
    if not train:
      # What is not sent is 0, as likely as under the prior: it costs nothing and tells nothing.
      mean = jnp.where(active, mean, 0.0)
      log_scale = jnp.where(active, log_scale, log_prior)
      noise = jnp.where(active, noise, 0.0)
    rates = _kl(mean, log_scale, log_prior)
    if train:
      batch_rate = jax.lax.stop_gradient(jnp.mean(rates, axis=0))
      state = {
        "rate": decay * state["rate"] + (1.0 - decay) * batch_rate,
        "seen": decay * state["seen"] + (1.0 - decay),
      }
    gap = params["projection"] @ params["projection"].T - jnp.eye(dim)
    aux = {
      "mean": mean,
      "log_scale": log_scale,
      "log_prob": -0.5 * jnp.sum(jnp.square(noise) + 2.0 * log_scale + LOG_2PI, axis=-1),
      "orthogonality": jnp.sum(jnp.square(gap)),
      "active": active,
    }
    value = mean + jnp.exp(log_scale) * noise
    return Code(value, jnp.sum(rates, axis=-1), None, aux), state

  return Bottleneck(features=2 * dim, init=init, apply=apply)


def _kl(mean: Array, log_scale: Array, log_prior: Array) -> Array:
  """KL(N(mean, scale^2) || N(0, prior^2)) of each dimension."""
  axis = (mean[..., None], log_scale[..., None], jnp.zeros_like(mean)[..., None])
  return gaussian_kl(*axis, log_prior[..., None])


def _features(mean: float, scale: float, shift: float = -5.0) -> Array:
  return jnp.array([[mean, scale + math.log(-math.expm1(-scale)) - shift]])


CASES = (
  Case(
    name="the KL to a prior of variance 4",
    hyper=dict(dim=1, threshold_nats=0.0),
    inputs=lambda: dict(
      params={"projection": jnp.array([[1.0]]), "log_alpha": jnp.log(jnp.array([4.0]))},
      features=_features(1.0, 0.5),
    ),
    expected=dict(rate=[0.5 * (1.25 / 4 - 1.0) + math.log(2.0 / 0.5)]),
    source="closed form: ((s^2 + m^2) / a - 1) / 2 + log(sqrt(a) / s)",
  ),
  Case(
    name="at alpha = m^2 + s^2 it is the per-example form",
    hyper=dict(dim=1, threshold_nats=0.0),
    inputs=lambda: dict(
      params={"projection": jnp.array([[-1.0]]), "log_alpha": jnp.log(jnp.array([1.25]))},
      features=_features(1.0, 0.5),
    ),
    expected=dict(rate=[0.5 * math.log1p(4.0)]),
    source="closed form: log(1 + m^2 / s^2) / 2, for one input",
  ),
)
