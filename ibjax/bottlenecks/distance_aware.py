"""Distance aware bottleneck (DAB): a codebook of Gaussians, and how far from it an input is.

Source: Apostolopoulou et al. 2024, "A rate-distortion view of uncertainty quantification"
(arXiv:2406.10775).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.numerics import LOG_2PI, gaussian_kl, log_softplus
from ibjax.core.types import Bottleneck, Case, Code, Scalar

Array = jax.Array

COVARIANCES = ("full", "diagonal")


def distance_aware(
  dim: int = 8,
  components: int = 10,
  temperature: Scalar = 1.0,
  covariance: str = "full",
  decay: Scalar = 0.99,
  smoothing: Scalar = 1e-3,
  scale_shift: float = -5.0,
) -> Bottleneck:
  """Codes inputs by Gaussians and pays their distance to a codebook of K Gaussians.

  Formula: D(x) = sum_k q_k KL(N(mu(x), Sigma(x)) || N(m_k, S_k)), the uncertainty of x, with
  q_k prop. to pi_k exp(-tau KL_k), through which no gradient passes; the rate is
  D(x) + KL(q || pi), in nats. At tau = 1 the rate is -log sum_k pi_k exp(-KL_k). The objective
  `vib` with this bottleneck is the paper's: its gradient is D's, as KL(q || pi) has none.

  Use it when a prediction should come with one number, of one pass, that is large for inputs
  unlike those seen in training.

  The rate is larger than D because it must bound I(X;Z): the KL to the codebook as a mixture is at
  most D + KL(q || pi), whatever q is. The two differ by at most -log min pi; with one component
  they are equal, and the bottleneck is VIB's with a learned prior. D alone is aux "distance_nats".

  Assumptions, where the paper is silent or its code errs: the codebook's means are learned by
  gradient with all else in one step (the code alternates by epochs); covariances and priors are
  moving averages of S_k = E[q_k (Sigma + (mu - m_k)(mu - m_k)')] / E[q_k] and pi_k = E[q_k], each
  a ratio of two averages that start at zero, so that their bias cancels (the code's does not), with
  a standard Gaussian of weight `smoothing` in each component (the code adds 5 to every q, which
  makes all S_k alike). The encoder's covariance is L L' with L = diag(s) (I + N), N strictly lower
  triangular and s = softplus(. + scale_shift): no singular value decomposition, whose gradient is
  infinite at equal values. Codes are sampled in evaluation too, as for other stochastic codes.

  Args:
    dim: width d of the code.
    components: number K of Gaussians in the codebook.
    temperature: tau >= 0, how hard inputs are assigned; 0 takes the priors alone; may be traced.
    covariance: "full" or "diagonal", of both the encoder and the codebook.
    decay: in [0, 1), of the moving averages, per update; may be traced.
    smoothing: weight > 0 of the standard Gaussian in each component; may be traced.
    scale_shift: added before the softplus, so that noise is small at first.

  Returns:
    A `Bottleneck` that takes d + d (d + 1) / 2 features (2 d if diagonal) and gives codes [n, d],
    rates [n] in nats, and aux "distance_nats" [n], "assignment" [n, K] and "mean" [n, d]; if
    diagonal also "log_scale" [n, d] and "log_prob" [n] (with a full covariance there is no scale
    per dimension, and objectives that need one say so).

  Raises:
    InputError: a hyperparameter out of range, or features of the wrong width.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.bottlenecks.distance_aware import distance_aware
    >>> channel = distance_aware(dim=2, components=3)
    >>> params, state = channel.init(jax.random.key(0))
    >>> features = jnp.zeros((4, channel.features))
    >>> code, state = channel.apply(params, state, features, key=jax.random.key(1), train=True)
    >>> code.value.shape, code.rate.shape, state["scatter"].shape
    ((4, 2), (4,), (3, 2, 2))

  Source: Apostolopoulou et al. 2024 (arXiv:2406.10775), the rate-distortion objective over encoder
  and codebook and its alternating updates; set-up of its code for images (d 8, K 10, tau 1, beta
  1e-3).
  """
  checks.at_least("dim", dim, 1)
  checks.at_least("components", components, 1)
  checks.at_least("temperature", temperature, 0.0)
  checks.one_of("covariance", covariance, COVARIANCES)
  checks.between("decay", decay, 0.0, 1.0, open_high=True)
  checks.at_least("smoothing", smoothing, 0.0, strict=True)
  full = covariance == "full"
  width = 2 * dim + (dim * (dim - 1) // 2 if full else 0)
  identity = jnp.eye(dim) if full else jnp.ones(dim)

  def init(key):
    # Means at one point would get equal gradients and never part.
    mean = 0.1 * jax.random.normal(rng.stream(key, "codebook"), (components, dim))
    scatter = jnp.zeros((components, *identity.shape))
    return {"mean": mean}, {"scatter": scatter, "weight": jnp.zeros(components)}

  def codebook(state):
    weight = state["weight"] + smoothing
    unit = weight.reshape(-1, *[1] * identity.ndim)
    return (state["scatter"] + smoothing * identity) / unit, jnp.log(weight / jnp.sum(weight))

  def apply(params, state, features, *, key, train):
    checks.shape("features", features, (None, width))
    features = features.astype(jnp.float32)
    mean, raw, lower = jnp.split(features, [dim, 2 * dim], axis=-1)
    raw = raw + scale_shift
    scale, log_scale = jax.nn.softplus(raw), log_softplus(raw)
    noise = rng.normal(rng.stream(key, "bottleneck"), mean.shape)
    spreads, log_prior = codebook(state)
    if full:
      factor = _factor(scale, lower)
      value = mean + jnp.einsum("nij,nj->ni", factor, noise)
      spread = jnp.einsum("nij,nkj->nik", factor, factor)
      kl = _full_kl(mean, spread, log_scale, params["mean"], spreads)
    else:
      value = mean + scale * noise
      spread = jnp.square(scale)
      kl = gaussian_kl(mean[:, None], log_scale[:, None], params["mean"], 0.5 * jnp.log(spreads))
    q = jax.lax.stop_gradient(jax.nn.softmax(log_prior - temperature * kl, axis=-1))
    distance = jnp.sum(q * kl, axis=-1)
    rate = distance + jnp.sum(jax.scipy.special.xlogy(q, q) - q * log_prior, axis=-1)
    aux = {"distance_nats": distance, "assignment": q, "mean": mean}
    if not full:
      aux["log_scale"] = log_scale
      aux["log_prob"] = -0.5 * jnp.sum(jnp.square(noise) + 2.0 * log_scale + LOG_2PI, axis=-1)
    if train:
      shift = mean[:, None] - params["mean"]
      outer = shift[..., :, None] * shift[..., None, :] if full else jnp.square(shift)
      seen = {
        "scatter": jnp.einsum("nk,nk...->k...", q, spread[:, None] + outer) / mean.shape[0],
        "weight": jnp.mean(q, axis=0),
      }
      state = jax.tree.map(
        lambda old, new: decay * old + (1.0 - decay) * jax.lax.stop_gradient(new), state, seen
      )
    return Code(value, rate, None, aux), state

  return Bottleneck(features=width, init=init, apply=apply)


def _factor(scale: Array, lower: Array) -> Array:
  """L = diag(s) (I + N) [n, d, d] of s [n, d] and the strictly lower entries of N, row by row."""
  dim = scale.shape[-1]
  rows, columns = jnp.tril_indices(dim, -1)
  unit = jnp.broadcast_to(jnp.eye(dim), (scale.shape[0], dim, dim))
  return scale[..., None] * unit.at[:, rows, columns].set(lower)


def _full_kl(mean: Array, spread: Array, log_scale: Array, means: Array, spreads: Array) -> Array:
  """KL [n, k] of N(mean, spread) to N(means, spreads); log_scale [n, d]: half the log diagonal.

  Formula: 1/2 [tr(S_k^-1 Sigma) + (mu - m_k)' S_k^-1 (mu - m_k) - d + log |S_k| - log |Sigma|].
  """
  factor = jnp.linalg.cholesky(spreads)
  whiten = jax.scipy.linalg.solve_triangular(
    factor, jnp.broadcast_to(jnp.eye(mean.shape[-1]), spreads.shape), lower=True
  )
  precision = jnp.einsum("kji,kjl->kil", whiten, whiten)
  trace = jnp.einsum("kij,nij->nk", precision, spread)
  shift = jnp.einsum("kij,nkj->nki", whiten, mean[:, None] - means)
  log_det = 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
  constant = log_det - 2.0 * jnp.sum(log_scale, axis=-1, keepdims=True) - mean.shape[-1]
  return 0.5 * (trace + jnp.sum(jnp.square(shift), axis=-1) + constant)


def _raw(scale: float) -> float:
  return scale + math.log(-math.expm1(-scale)) + 5.0


CASES = (
  Case(
    name="one component at the origin is the standard prior",
    hyper=dict(dim=1, components=1, covariance="diagonal"),
    inputs=lambda: dict(params={"mean": jnp.zeros((1, 1))}, features=jnp.array([[2.0, _raw(0.5)]])),
    expected=dict(rate=[0.5 * (4.0 + 0.25 - 1.0) - math.log(0.5)]),
    source="closed form: (m^2 + s^2 - 1) / 2 - log s",
  ),
  Case(
    name="a full covariance with its noise along one direction",
    hyper=dict(dim=2, components=1),
    inputs=lambda: dict(
      params={"mean": jnp.zeros((1, 2))},
      features=jnp.array([[2.0, 1.0, _raw(0.5), _raw(0.25), 3.0]]),
    ),
    # L = [[1/2, 0], [3/4, 1/4]]: tr Sigma = 1/4 + 9/16 + 1/16, |Sigma| = (1/8)^2.
    expected=dict(rate=[0.5 * (0.875 + 5.0 - 2.0) + math.log(8.0)]),
    source="closed form: (tr Sigma + |mu|^2 - d - log |Sigma|) / 2",
  ),
  Case(
    name="two components at temperature 1: the free energy",
    hyper=dict(dim=1, components=2, covariance="diagonal"),
    inputs=lambda: dict(
      params={"mean": jnp.array([[0.0], [1.0]])}, features=jnp.array([[0.0, _raw(1.0)]])
    ),
    expected=dict(rate=[-math.log(0.5 * (1.0 + math.exp(-0.5)))]),
    source="closed form: -log sum_k pi_k exp(-KL_k), with KL 0 and 1/2",
  ),
)
