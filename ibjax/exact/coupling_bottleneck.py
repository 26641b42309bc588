"""Minimum entropy coupling with a bottleneck: X -> T -> Y with H(T) at most R, and Y's law given.

Lossy compression under logarithmic loss whose reconstruction must have a prescribed distribution:
maximise I(X;Y) subject to H(T) <= R and Y ~ p_Y. Without the limit it is the minimum entropy
coupling of p_X and p_Y. Encoder and decoder are made one after the other, so the result is a lower
bound on the best; the best is at most `ceiling_nats`.

Source: Ebrahimi, Chen and Khisti 2024 (arXiv:2410.21666), eq. 2 and section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ibjax.exact import entropy_bounded_information as encoder
from ibjax.exact.entropy_coupling import entropy, information, lower_bound, max_seeking


class Coupling(NamedTuple):
  """The chain X -> T -> Y.

  Attributes:
    code: the encoder, with its rate and how far it is from what was asked.
    decoder: [k, m] joint of T and Y.
    joint: [n, m] joint of X and Y; its columns sum to p_Y.
    information_nats: I(X;Y).
    ceiling_nats: no chain with these marginals and H(T) <= R has more I(X;Y).
  """

  code: encoder.Code
  decoder: np.ndarray
  joint: np.ndarray
  information_nats: float
  ceiling_nats: float


def coupling_bottleneck(
  p_x: np.ndarray,
  p_y: np.ndarray,
  rate_nats: float,
  *,
  encode: Callable[[np.ndarray, float], encoder.Code] = encoder.greedy,
  couple: Callable[[np.ndarray, np.ndarray], np.ndarray] = max_seeking,
) -> Coupling:
  """Encodes X within R nats, and couples the code with Y.

  Formula: max I(X;T) subject to H(T) <= R, then min H(T,Y) subject to T ~ p_T and Y ~ p_Y;
  p(x,y) = sum_t p(x,t) p(t,y) / p(t). The ceiling is the lesser of R and
  H(X) + H(Y) - H(p_X meet p_Y), for I(X;Y) <= H(T) and no coupling has less joint entropy than the
  meet of its marginals.

  Args:
    p_x: [n] distribution of X.
    p_y: [m] distribution that Y must have.
    rate_nats: R, at least 0; infinity for no limit.
    encode: an encoder of `ibjax.exact.entropy_bounded_information`.
    couple: a coupling of `ibjax.exact.entropy_coupling`.

  Returns:
    A `Coupling`.

  Raises:
    InputError: a marginal that is no distribution, or a rate that is negative or NaN.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.coupling_bottleneck import coupling_bottleneck
    >>> half = np.full(2, 0.5)
    >>> chain = coupling_bottleneck(half, half, np.inf)
    >>> chain.joint.tolist(), round(chain.information_nats, 6)
    ([[0.5, 0.0], [0.0, 0.5]], 0.693147)

  Source: Ebrahimi et al. 2024, eq. 2 and section 2.
  """
  code = encode(p_x, rate_nats)
  p_t = code.joint.sum(0)
  decoder = couple(p_t, p_y)
  joint = code.joint / p_t @ decoder
  p_x, p_y = joint.sum(1), joint.sum(0)
  ceiling = min(float(rate_nats), entropy(p_x) + entropy(p_y) - lower_bound(p_x, p_y))
  return Coupling(code, decoder, joint, information(joint), ceiling)
