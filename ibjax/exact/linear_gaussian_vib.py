"""The VIB loss of a linear-Gaussian encoder and a linear two-class decoder, exactly.

For x ~ N(m, C) and z = W x + b + s eps everything is Gaussian: the rate has a closed form, and
the difference of the two logits is one Gaussian number, so that the cross-entropy is a
one-dimensional integral, done by Gauss-Hermite quadrature to machine precision.

Source: Alemi et al. 2017 (arXiv:1612.00410), eq. 17, evaluated for Gaussians.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LinearGaussianVib(NamedTuple):
  """Exact values in nats.

  Attributes:
    distortion: E[-log q(y|z)].
    rate: E[KL(p(z|x) || N(0, I))].
    information: I(X;Z), which the rate bounds from above.
  """

  distortion: float
  rate: float
  information: float


def linear_gaussian_vib(
  mean: np.ndarray,
  cov: np.ndarray,
  weight: np.ndarray,
  bias: np.ndarray,
  scale: np.ndarray,
  decoder: np.ndarray,
  offset: float,
  nodes: int = 200,
) -> LinearGaussianVib:
  """Computes distortion, rate and information of a linear-Gaussian encoder.

  Formula: x ~ N(m, C), p(y=1|x) = 1/2 independent of x only through the decoder's argument:
  labels are y = 1 for every x here, so distortion = E[softplus(-t)], t = v.z + c Gaussian with
  mean v.(W m + b) + c and variance v'(W C W' + S)v; rate = 1/2 [tr(W C W') + |W m + b|^2 +
  tr S - K - log det S]; I(X;Z) = 1/2 log det(I + S^-1 W C W').

  Args:
    mean: [d] mean of x.
    cov: [d, d] covariance of x.
    weight: [k, d] encoder W.
    bias: [k] encoder b.
    scale: [k] standard deviations s of the noise; S = diag(s^2).
    decoder: [k] v, the difference of the two logits' weights.
    offset: c, the difference of their biases.
    nodes: quadrature points.

  Returns:
    A `LinearGaussianVib`, in nats.

  Raises:
    ValueError: a scale that is not positive.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.linear_gaussian_vib import linear_gaussian_vib
    >>> one = np.ones(1)
    >>> exact = linear_gaussian_vib(0 * one, np.eye(1), np.eye(1), 0 * one, one, 0 * one, 0.0)
    >>> round(exact.distortion, 6), round(exact.rate, 6), round(exact.information, 6)
    (0.693147, 0.5, 0.346574)

  Source: Alemi et al. 2017 (arXiv:1612.00410), eq. 17.
  """
  if np.any(scale <= 0):
    raise ValueError(f"the noise's standard deviations must be positive; got {scale}.")
  code_mean = weight @ mean + bias
  signal = weight @ cov @ weight.T
  noise = np.diag(scale**2)
  rate = 0.5 * (
    np.trace(signal)
    + code_mean @ code_mean
    + np.trace(noise)
    - len(bias)
    - 2.0 * np.sum(np.log(scale))
  )
  information = 0.5 * np.linalg.slogdet(np.eye(len(bias)) + np.linalg.solve(noise, signal))[1]
  points, weights = np.polynomial.hermite_e.hermegauss(nodes)
  argument = decoder @ code_mean + offset
  spread = np.sqrt(decoder @ (signal + noise) @ decoder)
  values = np.logaddexp(0.0, -(argument + spread * points))
  distortion = np.sum(weights * values) / np.sum(weights)
  return LinearGaussianVib(float(distortion), float(rate), float(information))
