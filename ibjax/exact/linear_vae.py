"""Optima of linear variational autoencoders, and which latent dimensions collapse, exactly.

Everything splits into directions: a latent dimension of the optimum serves one singular direction
of the target given the whitened input, and is worth its rate or is not. With m the second moment
of a latent and c the decoder's scale, each is a problem of one number, solved in closed form.

Source: Dang et al. 2024, "Beyond vanilla variational autoencoders: detecting posterior collapse in
conditional and hierarchical variational autoencoders" (ICLR, arXiv:2306.05023). Its threshold for
a conditional model reads sqrt(e) >= sqrt(beta) c of the eigenvalue e, as derived here; where its
programs compare e itself with sqrt(beta) c, they agree only if that is one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LinearVae(NamedTuple):
  """The optimum of a linear model, by direction.

  Attributes:
    decoder: [k] singular values of the decoder U, latent to target.
    encoder: [k] singular values of the encoder W, whitened input to latent.
    scale: [k] standard deviations of the code's noise.
    collapsed: [k] bool, True where the code says nothing of the input: its posterior is the prior
      if the scale is learned.
    rate_nats: [k] E[KL(q(z|x) || p(z))].
    gain: [k] by how much the direction lowers the expected squared error, E|y|^2 - E|y - U z|^2.
  """

  decoder: np.ndarray
  encoder: np.ndarray
  scale: np.ndarray
  collapsed: np.ndarray
  rate_nats: np.ndarray
  gain: np.ndarray


class HierarchicalVae(NamedTuple):
  """The optimum of a linear model of two levels, by direction.

  Attributes:
    decoder: [k] singular values of U_1, first latent to target.
    encoder: [k] of W_1, whitened input to the mean of the first latent.
    upper_decoder: [k] of U_2, second latent to the first.
    upper_encoder: [k] of W_2, first latent to the mean of the second.
    upper_scale: [k] standard deviations of the second latent's noise.
    collapsed: [k] bool, of the first latent: it says nothing of the input.
    upper_collapsed: [k] bool, of the second latent: its posterior is the prior.
  """

  decoder: np.ndarray
  encoder: np.ndarray
  upper_decoder: np.ndarray
  upper_encoder: np.ndarray
  upper_scale: np.ndarray
  collapsed: np.ndarray
  upper_collapsed: np.ndarray


def linear_vae(
  theta: np.ndarray,
  beta: float = 1.0,
  decoder_scale: float = 1.0,
  prior_scale: float = 1.0,
  scale: np.ndarray | None = None,
) -> LinearVae:
  """Solves min E|y - U z|^2 / (2 c^2) + beta E[KL(N(W x, S) || N(0, h^2 I))].

  Formula: with a learned diagonal S, and t = theta^2 - beta c^2: decoder sqrt(t)/h, encoder
  h sqrt(t)/theta, scale sqrt(beta) c h/theta where t > 0; else 0, 0 and h: a dimension collapses
  where theta <= sqrt(beta) c. With s given, decoder^2 = (sqrt(beta) c/h) (theta - sqrt(beta) c
  s/h)/s and encoder^2 = s (theta - sqrt(beta) c s/h) h/(sqrt(beta) c), or 0.

  Args:
    theta: [k] singular values of E[y x~'], x~ the whitened input: for y = x the square roots of
      the covariance's eigenvalues. Of a conditional model those of `conditional_theta`.
    beta: price of a nat of rate, > 0.
    decoder_scale: c, standard deviation of p(y|z), > 0.
    prior_scale: h, standard deviation of p(z), > 0.
    scale: [k] fixed standard deviations of the code's noise, one to each theta in order; None
      learns them.

  Returns:
    A `LinearVae`.

  Raises:
    ValueError: a number that is not positive, a negative theta.

  Example:
    >>> from ibjax.exact.linear_vae import linear_vae
    >>> found = linear_vae([2.0, 1.0], beta=2.0)
    >>> found.decoder.round(3).tolist(), found.scale.round(3).tolist()
    ([1.414, 0.0], [0.707, 1.0])

  Source: Dang et al. 2024 (arXiv:2306.05023), theorem 1 (learned) and proposition (fixed); Lucas
  et al. 2019 (arXiv:1911.02469) for the relation to probabilistic PCA.
  """
  theta = _checked(theta, beta=beta, decoder_scale=decoder_scale, prior_scale=prior_scale)
  price = np.sqrt(beta) * decoder_scale
  if scale is None:
    left = np.sqrt(np.maximum(theta**2 - price**2, 0.0))
    used = left > 0
    safe = np.where(used, theta, 1.0)
    decoder, encoder = left / prior_scale, np.where(used, prior_scale * left / safe, 0.0)
    noise = np.where(used, price * prior_scale / safe, prior_scale)
  else:
    noise = np.asarray(scale, np.float64)
    if not np.all(noise > 0):
      raise ValueError(f"the noise's standard deviations must be positive; got {noise}.")
    c = price / prior_scale
    left = np.maximum(theta - c * noise, 0.0)
    used = left > 0
    decoder, encoder = np.sqrt(c * left / noise), np.sqrt(noise * left / c)
  moment = (encoder**2 + noise**2) / prior_scale**2
  rate = 0.5 * (moment - 1.0) - np.log(noise / prior_scale)
  gain = 2.0 * decoder * encoder * theta - decoder**2 * (encoder**2 + noise**2)
  return LinearVae(decoder, encoder, noise, ~used, rate, gain)


def conditional_theta(cov_x: np.ndarray, cov_xy: np.ndarray, cov_y: np.ndarray) -> np.ndarray:
  """The thetas of a model whose decoder sees x too: only what x leaves of y is worth a rate.

  Formula: square roots of the eigenvalues of Sigma_y - Sigma_yx Sigma_x^-1 Sigma_xy. A latent of
  x and y with the decoder U_1 z + U_2 x reaches the optimum of `linear_vae` at these: it collapses
  the sooner the better x predicts y.

  Args:
    cov_x: [dx, dx] covariance of the condition.
    cov_xy: [dx, dy] covariance of condition and target.
    cov_y: [dy, dy] covariance of the target.

  Returns:
    [dy], descending.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.linear_vae import conditional_theta
    >>> one = np.eye(1)
    >>> conditional_theta(one, 0.6 * one, one).round(6).tolist()
    [0.8]

  Source: Dang et al. 2024 (arXiv:2306.05023), theorem on conditional models.
  """
  left = cov_y - cov_xy.T @ np.linalg.solve(cov_x, cov_xy)
  return np.sqrt(np.maximum(np.linalg.eigvalsh(left)[::-1], 0.0))


def hierarchical_vae(
  theta: np.ndarray,
  scale: float = 1.0,
  beta_1: float = 1.0,
  beta_2: float = 1.0,
  decoder_scale: float = 1.0,
  upper_decoder_scale: float | None = None,
  prior_scale: float = 1.0,
) -> HierarchicalVae:
  """Solves the model of two levels whose first latent has a fixed noise, its second a learned one.

  The loss is E|y - U_1 z_1|^2/(2 c^2) + beta_1 E[KL(N(W_1 x, s^2) || N(U_2 z_2, t^2))] + beta_2
  E[KL(N(W_2 z_1, S_2) || N(0, h^2))].

  Formula: the second level is the `linear_vae` of z_1, whose directions have the moment m: it is in
  use where m > k = (beta_2/beta_1) t^2. Then m = s^2 theta^2/(beta_2 c^2); else
  m = s theta t/(sqrt(beta_1) c); and never less than s^2, where the first latent has collapsed.

  Args:
    theta: [k] singular values of E[y x~'], x~ the whitened input.
    scale: s, the first latent's noise, > 0.
    beta_1: price of the first latent, > 0.
    beta_2: price of the second, > 0.
    decoder_scale: c, of p(y|z_1), > 0.
    upper_decoder_scale: t, of p(z_1|z_2), > 0; None takes c, as the paper does.
    prior_scale: h, of p(z_2), > 0.

  Returns:
    A `HierarchicalVae`.

  Raises:
    ValueError: a number that is not positive, a negative theta.

  Example:
    >>> from ibjax.exact.linear_vae import hierarchical_vae
    >>> found = hierarchical_vae([1.5], beta_2=2.0)
    >>> found.encoder.round(4).tolist(), found.upper_collapsed.tolist()
    ([0.7071], [True])

  Source: Dang et al. 2024 (arXiv:2306.05023), theorem on two levels; derived here for any t.
  """
  upper = decoder_scale if upper_decoder_scale is None else upper_decoder_scale
  theta = _checked(
    theta,
    scale=scale,
    beta_1=beta_1,
    beta_2=beta_2,
    decoder_scale=decoder_scale,
    upper_decoder_scale=upper,
    prior_scale=prior_scale,
  )
  knee = beta_2 / beta_1 * upper**2
  both = scale**2 * theta**2 / (beta_2 * decoder_scale**2)
  alone = scale * theta * upper / (np.sqrt(beta_1) * decoder_scale)
  moment = np.maximum(np.where(both > knee, both, alone), scale**2)
  encoder = np.sqrt(moment - scale**2)
  second = linear_vae(np.sqrt(moment), beta_2 / beta_1, upper, prior_scale)
  return HierarchicalVae(
    decoder=encoder * theta / moment,
    encoder=encoder,
    upper_decoder=second.decoder,
    upper_encoder=second.encoder / np.sqrt(moment),  # of the latent itself, which is not white
    upper_scale=second.scale,
    collapsed=moment <= scale**2,
    upper_collapsed=second.collapsed,
  )


def _checked(theta: np.ndarray, **positive: float) -> np.ndarray:
  for name, number in positive.items():
    if not number > 0:
      raise ValueError(f"{name}={number:g} must be positive.")
  theta = np.asarray(theta, np.float64)
  if np.any(theta < 0) or not np.all(np.isfinite(theta)):
    raise ValueError(f"theta={theta} must be finite and not negative.")
  return theta
