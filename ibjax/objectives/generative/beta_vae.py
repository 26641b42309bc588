"""Beta-VAE: reconstruction of the input at a price of the code's rate.

Source: Higgins et al. 2017, "beta-VAE: learning basic visual concepts with a constrained
variational framework" (ICLR); Kingma and Welling 2014, "Auto-encoding variational Bayes"
(arXiv:1312.6114).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.numerics import LOG_2PI
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import cross_entropy_nats, information_bound
from ibjax.objectives.needs import require

Array = jax.Array
LIKELIHOODS = ("gaussian", "bernoulli")
LAGRANGIAN = Lagrangian(form="rate", penalty="I(X;Z)")


def beta_vae(
  beta: Scalar = 1.0,
  likelihood: str = "gaussian",
  decoder_scale: Scalar = 1.0,
  learned_scale: bool = False,
) -> Objective:
  """Reconstructs the input from a stochastic code, and pays for the code's rate.

  Formula: min E[-log q(y|z)] + beta E[KL(p(z|x) || r(z))] with y = x: VIB whose target is the
  input, -ELBO at beta = 1. q is N(prediction, s^2 I) with one s, given or learned, or a Bernoulli
  in each coordinate whose log odds are the decoder's output, for targets in [0, 1]. In nats, a
  density's for "gaussian", so negative values occur.

  beta and s^2 are one price: both multiply the rate against squared errors, and beta s^2 alone
  decides which directions of the data are worth their rate (`ibjax.exact.linear_vae`). A learned
  s takes that price as the data have it.

  Use it with a source "autoencode:SOURCE", whose targets are the inputs, and a bottleneck with a
  rate. Labels are scored by a softmax, which makes it `vib`.

  Args:
    beta: price of a nat of rate, >= 0; may be traced.
    likelihood: "gaussian" or "bernoulli". The frame's "mse" is of the decoder's output, so of
      log odds with the latter; reconstruction_mse is of the mean with both.
    decoder_scale: s, > 0, in the target's unit; where a learned one starts. Unused by
      "bernoulli".
    learned_scale: learn s.

  Returns:
    An `Objective` with losses distortion_nats and rate_nats [n], and the metrics i_xz_upper_nats,
    elbo_nats (beta = 1, whatever beta is) and for targets reconstruction_mse [n], for a gaussian
    decoder_scale (scalar).

  Raises:
    InputError: a negative beta, a scale of 0 or less, another likelihood, a code without a rate,
      predictions that do not fit.

  Example:
    >>> from ibjax.objectives.generative.beta_vae import beta_vae
    >>> objective = beta_vae(beta=4.0, decoder_scale=0.1)

  Source: Higgins et al. 2017, eq. 4; Kingma and Welling 2014 (arXiv:1312.6114), eq. 3; the learned
  s of Rybkin et al. 2021 (arXiv:2006.13202), section 3, by gradient.
  """
  checks.at_least("beta", beta, 0.0)
  checks.one_of("likelihood", likelihood, LIKELIHOODS)
  checks.at_least("decoder_scale", decoder_scale, 0.0, strict=True)
  gaussian = likelihood == "gaussian"
  learned = gaussian and learned_scale

  def init(key, spec):
    params = {"log_scale": jnp.log(jnp.float32(decoder_scale))} if learned else {}
    if not spec.target_dim:
      return params, {"label_probs": spec.label_probs}
    known = spec.target_entropy_nats
    return params, {} if known is None else {"target_entropy_nats": jnp.float32(known)}

  def loss(params, state, outputs, batch, key, step):
    rate = require("beta_vae", outputs, "rate")
    y, metrics = batch["y"], {}
    if jnp.issubdtype(y.dtype, jnp.integer):
      distortion = cross_entropy_nats(outputs.prediction, y)
    else:
      log_scale = params["log_scale"] if learned else jnp.log(jnp.asarray(decoder_scale))
      distortion, square = _reconstruction(outputs.prediction, y, gaussian, log_scale)
      metrics["reconstruction_mse"] = square
      if gaussian:
        metrics["decoder_scale"] = jnp.exp(log_scale)
    checks.shape("rate", rate, distortion.shape)
    return Terms(
      losses={"distortion_nats": Term(distortion), "rate_nats": Term(rate, beta)},
      metrics={
        "i_xz_upper_nats": rate,
        "elbo_nats": -distortion - rate,
        **metrics,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss)


def _reconstruction(
  prediction: Array, y: Array, gaussian: bool, log_scale: Array
) -> tuple[Array, Array]:
  """(-log q(y|z) [n] nats, squared error of the mean, averaged over coordinates [n])."""
  checks.shape("prediction", prediction, ("n", "t"))
  checks.shape("target", y, prediction.shape)
  y = y.astype(jnp.float32)
  if gaussian:
    square = jnp.square(y - prediction)
    nats = 0.5 * square * jnp.exp(-2.0 * log_scale) + log_scale + 0.5 * LOG_2PI
  else:
    square = jnp.square(y - jax.nn.sigmoid(prediction))
    nats = optax.losses.sigmoid_binary_cross_entropy(prediction, y)
  return jnp.sum(nats, axis=-1), jnp.mean(square, axis=-1)


def _inputs(prediction, y):
  code = Code(value=jnp.zeros((1, 1)), rate=jnp.array([3.0]), bits=None, aux={})
  return dict(outputs=Outputs(code, jnp.array([prediction])), batch={"y": jnp.array([y])})


CASES = (
  Case(
    name="two coordinates, one two scales off",
    hyper=dict(beta=0.5, decoder_scale=0.5),
    inputs=lambda: _inputs([0.0, 2.0], [1.0, 2.0]),
    expected=dict(
      distortion_nats=2.0 + math.log(2 * math.pi * 0.25),
      reconstruction_mse=0.5,
      loss=3.5 + math.log(2 * math.pi * 0.25),
      elbo_nats=-5.0 - math.log(2 * math.pi * 0.25),
    ),
    source="closed form: -log N(1; 0, 1/4) = 2 + log(2 pi / 4) / 2",
  ),
  Case(
    name="even odds cost log 2 in each coordinate, whatever the target",
    hyper=dict(beta=1.0, likelihood="bernoulli"),
    inputs=lambda: _inputs([0.0, 0.0], [0.0, 0.75]),
    expected=dict(
      distortion_nats=2.0 * math.log(2), reconstruction_mse=(0.25 + 0.0625) / 2, rate_nats=3.0
    ),
    source="closed form",
  ),
  Case(
    name="a scale that is learned starts where it is put",
    hyper=dict(beta=0.0, decoder_scale=2.0, learned_scale=True),
    inputs=lambda: _inputs([0.0], [2.0]),
    expected=dict(loss=0.5 + math.log(2.0) + math.log(2 * math.pi) / 2, decoder_scale=2.0),
    source="closed form: -log N(2; 0, 4)",
  ),
)
