"""Pairs of gamma, exponential, Pareto and logistic variables whose information is a closed form."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, gammaln

from ibjax.core import checks
from ibjax.data.synthetic.task import Arrays, Task, column, family, joint

_DARBELLAY = "Darbellay and Vajda 2000, 'Entropy expressions for multivariate continuous "
_DARBELLAY += "distributions' (IEEE Transactions on Information Theory 46:709-712)"


def gamma_entropy(shape: float) -> float:
  """Differential entropy of a gamma variable of unit scale.

  Args:
    shape: above 0.

  Returns:
    Nats: a + log Gamma(a) + (1 - a) psi(a).
  """
  return float(shape + gammaln(shape) + (1.0 - shape) * digamma(shape))


@family
def gamma_exponential(theta: float = 1.0, log: int = 0) -> Task:
  """Gamma x of shape theta, and exponential y whose rate is x; with log=1, the logarithm of both.

  Formula: f(x, y) = x^theta exp(-x - x y) / Gamma(theta); I(X;Y) = psi(theta + 1) - log theta.

  Args:
    theta: shape of x, above 0; small for much information.
    log: 1 for the logarithms, whose tails are light and whose information is the same.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("theta", theta, 0.0, strict=True)
  checks.between("log", log, 0, 1)
  nats = float(digamma(theta + 1.0)) - math.log(theta)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    # Gamma(theta) as Gamma(theta + 1) U^(1/theta): its logarithm stays finite for small theta.
    log_x = np.log(rng.gamma(theta + 1.0, size=n)) + np.log1p(-rng.random(n)) / theta
    log_y = np.log(rng.exponential(size=n)) - log_x
    pair = (log_x, log_y) if log else (np.exp(log_x), np.exp(log_y))
    return column(pair[0]), column(pair[1])

  x, y = gamma_entropy(theta), 1.0 + 1.0 / theta - math.log(theta)
  if log:  # h(log V) = h(V) - E log V
    x, y = x - float(digamma(theta)), y - float(digamma(1.0) - digamma(theta))
  return Task("gamma_exponential", 1, 1, nats, sample, _DARBELLAY, joint(x, y, nats))


@family
def weinman(theta: float = 1.0) -> Task:
  """Weinman's ordered exponentials: the first failure time x of two parts, and the second one y.

  Formula: f(x, y) = 2/theta exp(-2 x - (y - x)/theta), 0 < x < y. I(X;Y) is
  log((1 - 2 theta)/(2 theta)) + psi(1/(1 - 2 theta)) - psi(1) for theta < 1/2, -psi(1) at 1/2,
  log((2 theta - 1)/(2 theta)) + psi(2 theta/(2 theta - 1)) - psi(1) above.

  Args:
    theta: mean of y - x, above 0; x has mean 1/2.

  Returns:
    A `Task`.

  Raises:
    InputError: theta is not positive.
  """
  checks.at_least("theta", theta, 0.0, strict=True)
  # Both forms of the paper in one: the rates of x and y - x, slow and fast.
  slow, fast = sorted((2.0, 1.0 / theta))
  gap = (fast - slow) / fast
  # In the limit of equal rates psi(1/gap) = -log gap.
  excess = math.log(gap * fast / slow) + float(digamma(1.0 / gap)) if gap else 0.0
  # The entropy of a sum of two exponentials, less h(Y|X), that of the exponential y - x.
  y = 1.0 + excess - float(digamma(1.0)) - math.log(fast)
  nats = y - (1.0 + math.log(theta))

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = 0.5 * rng.exponential(size=n)
    return column(x), column(x + theta * rng.exponential(size=n))

  return Task("weinman", 1, 1, nats, sample, _DARBELLAY, joint(1.0 - math.log(2.0), y, nats))


@family
def pareto(theta: float = 1.0) -> Task:
  """Pareto x and y: two exponentials whose common rate is a gamma variable of shape theta.

  Formula: P(X > x, Y > y) = (x + y + 1)^-theta; I(X;Y) = log((theta + 1)/theta) - 1/(theta + 1).

  Args:
    theta: exponent of the tails, above 0; small for much information.

  Returns:
    A `Task`.

  Raises:
    InputError: theta is not positive.
  """
  checks.at_least("theta", theta, 0.0, strict=True)
  nats = math.log1p(1.0 / theta) - 1.0 / (theta + 1.0)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    log_rate = np.log(rng.gamma(theta + 1.0, size=n)) + np.log1p(-rng.random(n)) / theta
    x, y = (np.exp(np.log(rng.exponential(size=n)) - log_rate) for _ in range(2))
    return column(x), column(y)

  one = 1.0 + 1.0 / theta - math.log(theta)
  return Task("pareto", 1, 1, nats, sample, _DARBELLAY, joint(one, one, nats))


@family
def logistic() -> Task:
  """Gumbel's bivariate logistic distribution.

  Formula: P(X <= x, Y <= y) = 1/(1 + exp(-x) + exp(-y)); I(X;Y) = log 2 - 1/2.

  Returns:
    A `Task`.
  """
  nats = math.log(2.0) - 0.5

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    # Given an exponential rate, -log of two exponentials over it.
    log_rate = np.log(rng.exponential(size=n))
    x, y = (log_rate - np.log(rng.exponential(size=n)) for _ in range(2))
    return column(x), column(y)

  return Task("logistic", 1, 1, nats, sample, _DARBELLAY, joint(2.0, 2.0, nats))


@family
def gamma_sum(a: float = 2.0, b: float = 1.0) -> Task:
  """Gamma x of shape a, and y the sum of x and another gamma variable of shape b (McKay's pair).

  Formula: I(X;Y) = h(Gamma(a + b)) - h(Gamma(b)), h(a) = a + log Gamma(a) + (1 - a) psi(a).

  Args:
    a: shape of x, above 0.
    b: shape of y - x, above 0; small for much information.

  Returns:
    A `Task`.

  Raises:
    InputError: a shape is not positive.
  """
  for name, shape in (("a", a), ("b", b)):
    checks.at_least(name, shape, 0.0, strict=True)
  y = gamma_entropy(a + b)
  nats = y - gamma_entropy(b)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = rng.gamma(a, size=n)
    return column(x), column(x + rng.gamma(b, size=n))

  source = "entropy of a sum of gamma variables, which is a gamma variable"
  return Task("gamma_sum", 1, 1, nats, sample, source, joint(gamma_entropy(a), y, nats))


FAMILIES = (gamma_exponential, weinman, pareto, logistic, gamma_sum)
