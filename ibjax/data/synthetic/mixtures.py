"""Labels with real variables, and variables that are partly discrete and partly continuous."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad

from ibjax.core import checks
from ibjax.data.synthetic.discrete import entropy
from ibjax.data.synthetic.normal import rotation
from ibjax.data.synthetic.quadrature import normal_mixture_entropy
from ibjax.data.synthetic.task import Arrays, Task, column, family, joint

_GAO = "Gao, Kannan, Oh and Viswanath 2017, 'Estimating Mutual Information for Discrete-Continuous "
_GAO += "Mixtures' (NeurIPS)"


@family
def classes(
  k: int = 4, separation: float = 3.0, sigma: float = 1.0, d: int = 1, rotate: int = 0
) -> Task:
  """A uniform label y, and real x that is normal around the mean of its class.

  Formula: I(X;Y) = h(X) - h(X|Y), by quadrature; the means are 0, separation, 2 separation, ...
  along one direction, and every coordinate has the same noise.

  Args:
    k: number of classes.
    separation: distance of neighbouring means.
    sigma: standard deviation within a class, above 0.
    d: width of x; all directions but one are noise.
    rotate: when positive, the seed of a rotation of x, so that no coordinate is noise alone.

  Returns:
    A `Task` with y labels 0..k-1.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("k", k, 1)
  checks.at_least("d", d, 1)
  checks.at_least("separation", separation, 0.0)
  checks.at_least("sigma", sigma, 0.0, strict=True)
  checks.at_least("rotate", rotate, 0)
  noise = 0.5 * math.log(2.0 * math.pi * math.e) + math.log(sigma)
  along = normal_mixture_entropy([1.0 / k] * k, separation * np.arange(k), [sigma] * k)
  nats = along - noise
  turn = rotation(np.random.default_rng([rotate, 0]), d) if rotate else np.eye(d)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    y = rng.integers(0, k, n)
    x = sigma * rng.standard_normal((n, d))
    x[:, 0] += separation * y
    return x @ turn, y

  return Task(
    id="classes",
    dx=d,
    dy=0,
    nats=nats,
    sample=sample,
    source="quadrature: I = h(X) - h(X|Y)",
    entropies=joint(along + (d - 1) * noise, math.log(k), nats),
    classes={"y": k},
  )


@family
def uniform_steps(m: int = 5, labels: int = 0) -> Task:
  """Whole numbers x, uniform in 0..m-1, and real y uniform in [x, x + 2].

  Formula: I(X;Y) = log m - (m - 1)/m log 2.

  Args:
    m: number of values of x.
    labels: 1 for x as labels; 0 for x as real numbers, for estimators of mixtures.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("m", m, 1)
  checks.between("labels", labels, 0, 1)
  nats = math.log(m) - (m - 1) / m * math.log(2.0)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = rng.integers(0, m, n)
    return (x if labels else column(x)), column(x + 2.0 * rng.random(n))

  return Task(
    id="uniform_steps",
    dx=0 if labels else 1,
    dy=1,
    nats=nats,
    sample=sample,
    source=_GAO,
    entropies=joint(math.log(m), nats + math.log(2.0), nats),
    classes={"x": m} if labels else {},
  )


@family
def zero_inflated_poisson(p: float = 0.15) -> Task:
  """Exponential x of mean 1, and y a Poisson count of mean x, or 0 with probability p.

  Formula: I(X;Y) = H(Y) - E H(Y|X), by series and quadrature. The closed form printed in the
  paper, (1 - p)(2 log 2 - gamma - sum_k log(k) 2^-k), is that of p = 0 times 1 - p: it is the
  information when it is known which zeros were put in, and above I(X;Y) for 0 < p < 1.

  Args:
    p: probability that the count is replaced by 0, in [0, 1].

  Returns:
    A `Task` of real x and y; y has whole values.

  Raises:
    InputError: p is outside [0, 1].
  """
  checks.between("p", p, 0.0, 1.0)
  # The margin of the count is geometric: P(k) = 2^-(k+1).
  k = np.arange(200)
  counts = (1.0 - p) * 0.5 ** (k + 1.0)
  counts[0] += p
  # H(Y|X): the cell 0 by quadrature; of the others, minus the mean of log((1-p) Poisson(k; x)).
  log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])

  def zero(x: float) -> float:
    q = p + (1.0 - p) * math.exp(-x)
    return -math.exp(-x) * q * math.log(q)

  at_zero = quad(zero, 0.0, 60.0, epsabs=1e-13, epsrel=1e-12)[0] if 0.0 < p < 1.0 else 0.0
  if p == 0.0:
    at_zero = 0.25  # the mean of x exp(-x)
  others = 0.0
  if p < 1.0:
    # E X log X = 1 - gamma, E X (1 - exp(-X)) = 3/4 and E (1 - exp(-X)) = 1/2.
    log_mean = (1.0 - np.euler_gamma) - 0.75 - float(log_factorial @ 0.5 ** (k + 1.0))
    others = -(1.0 - p) * (0.5 * math.log1p(-p) + log_mean)
  nats = entropy(counts) - at_zero - others

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x = rng.exponential(size=n)
    return column(x), column(np.where(rng.random(n) < p, 0, rng.poisson(x)))

  entropies = joint(1.0, entropy(counts), nats)
  source = f"{_GAO}, its task with the information corrected"
  return Task("zero_inflated_poisson", 1, 1, max(0.0, nats), sample, source, entropies)


@family
def atoms(rho: float = 0.9, weight: float = 0.5, flip: float = 0.1) -> Task:
  """Correlated normals, or with the probability left a pair of signs that mostly agree.

  Formula: I(X;Y) = H(weight) + weight (-1/2 log(1 - rho^2)) + (1 - weight)(log 2 - H(flip)): x and
  y each tell whether the pair is continuous, since a normal is never -1 or 1.

  Args:
    rho: correlation of the normals, in (-1, 1).
    weight: probability of the normals.
    flip: probability that the signs differ.

  Returns:
    A `Task` of real x and y with atoms at -1 and 1; no entropy of it exists.

  Raises:
    InputError: a value out of range.
  """
  checks.between("rho", rho, -1.0, 1.0, open_high=True)
  checks.at_least("rho", rho, -1.0, strict=True)
  checks.between("weight", weight, 0.0, 1.0)
  checks.between("flip", flip, 0.0, 1.0)
  parts, signs = np.array([weight, 1.0 - weight]), np.array([flip, 1.0 - flip])
  nats = entropy(parts) - 0.5 * weight * math.log1p(-(rho**2))
  nats += (1.0 - weight) * (math.log(2.0) - entropy(signs))

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    smooth = rng.random(n) < weight
    normal = rng.standard_normal((2, n))
    sign = rng.choice([-1.0, 1.0], n)
    other = np.where(rng.random(n) < flip, -sign, sign)
    x = np.where(smooth, normal[0], sign)
    y = np.where(smooth, rho * normal[0] + math.sqrt(1.0 - rho**2) * normal[1], other)
    return column(x), column(y)

  return Task("atoms", 1, 1, nats, sample, _GAO)


FAMILIES = (classes, uniform_steps, zero_inflated_poisson, atoms)
