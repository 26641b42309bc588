"""Tables p(x, y) and p(x, y, z) of labels: channels, exclusive or, random tables."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ibjax.core import checks
from ibjax.data.synthetic.task import Arrays, Task, family


def entropy(p: np.ndarray) -> float:
  """Shannon entropy of a table of probabilities.

  Args:
    p: probabilities of any shape, summing to 1.

  Returns:
    Nats.
  """
  positive = p[p > 0]
  return float(-np.sum(positive * np.log(positive)))


def of_table(name: str, p: np.ndarray, source: str, stream: str = "") -> Task:
  """Makes the task of labels drawn from a table.

  Formula: I(X;Y) = H(X) + H(Y) - H(X,Y); I(X;Y|Z) = H(X,Z) + H(Y,Z) - H(Z) - H(X,Y,Z).

  Args:
    name: the task's name.
    p: [kx, ky] for I(X;Y), or [kx, ky, kz] for I(X;Y|Z); not negative, summing to 1.
    source: where it comes from.
    stream: see `Task`.

  Returns:
    A `Task` of labels 0..k-1.

  Example:
    >>> import numpy as np
    >>> from ibjax.data.synthetic.discrete import of_table
    >>> round(of_table("copy", np.eye(2) / 2, "made up").nats, 6)
    0.693147
  """
  axes = "xyz"[: p.ndim]
  entropies = {"xy": entropy(p.sum(axis=2) if p.ndim == 3 else p)}
  for axis, letter in enumerate(axes):
    entropies[letter] = entropy(p.sum(axis=tuple(a for a in range(p.ndim) if a != axis)))
  if p.ndim == 2:
    nats = entropies["x"] + entropies["y"] - entropies["xy"]
  else:
    nats = entropy(p.sum(axis=1)) + entropy(p.sum(axis=0)) - entropies["z"] - entropy(p)
  ends = np.cumsum(p.reshape(-1))
  ends /= ends[-1]

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    cells = np.searchsorted(ends, rng.random(n), side="right")
    return tuple(index.astype(np.int64) for index in np.unravel_index(cells, p.shape))

  return Task(
    id=name,
    dx=0,
    dy=0,
    nats=max(0.0, nats),  # independent tables round to -1e-17
    sample=sample,
    source=source,
    entropies=entropies,
    dz=0 if p.ndim == 3 else None,
    classes=dict(zip(axes, p.shape)),
    stream=stream,
    table=p,
  )


@family
def bsc(p: float = 0.1, prior: float = 0.5) -> Task:
  """Binary symmetric channel: y is the bit x, wrong with probability p.

  Formula: I(X;Y) = H(Y) - H(p); with prior 1/2, log 2 - H(p).

  Args:
    p: probability of an error.
    prior: probability of x = 1.

  Returns:
    A `Task` of labels.

  Raises:
    InputError: a probability outside [0, 1].
  """
  checks.between("p", p, 0.0, 1.0)
  checks.between("prior", prior, 0.0, 1.0)
  channel = np.array([[1.0 - p, p], [p, 1.0 - p]])
  return of_table("bsc", np.array([[1.0 - prior], [prior]]) * channel, "table: H of its margins")


@family
def bec(p: float = 0.1, prior: float = 0.5) -> Task:
  """Binary erasure channel: y is the bit x, or 2 ("erased") with probability p.

  Formula: I(X;Y) = (1 - p) H(X).

  Args:
    p: probability of an erasure.
    prior: probability of x = 1.

  Returns:
    A `Task` of labels.

  Raises:
    InputError: a probability outside [0, 1].
  """
  checks.between("p", p, 0.0, 1.0)
  checks.between("prior", prior, 0.0, 1.0)
  channel = np.array([[1.0 - p, 0.0, p], [0.0, 1.0 - p, p]])
  return of_table("bec", np.array([[1.0 - prior], [prior]]) * channel, "table: H of its margins")


@family
def xor(p: float = 0.0) -> Task:
  """Exclusive or of two fair bits: x in 0..3 is both, y is a xor b, wrong with probability p.

  Formula: I(X;Y) = log 2 - H(p), though neither bit alone knows anything of y.

  Args:
    p: probability that y is wrong.

  Returns:
    A `Task` of labels.

  Raises:
    InputError: p is outside [0, 1].
  """
  checks.between("p", p, 0.0, 1.0)
  right = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
  return of_table("xor", ((1.0 - p) * right + p * (1 - right)) / 4.0, "table: H of its margins")


@family
def table(kx: int = 4, ky: int = 3, concentration: float = 1.0, seed: int = 0) -> Task:
  """A random table p(x, y), drawn from a symmetric Dirichlet distribution.

  Args:
    kx: number of values of x.
    ky: number of values of y.
    concentration: of the Dirichlet distribution: small for few likely cells, large for nearly
      independent variables.
    seed: of the table.

  Returns:
    A `Task` of labels.

  Raises:
    InputError: a value out of range.
  """
  return of_table("table", _random((kx, ky), concentration, seed), "table: H of its margins")


@family
def xor_given(p: float = 0.0) -> Task:
  """Exclusive or of bits with z one of them: I(X;Y) = 0, but I(X;Y|Z) is a bit.

  Formula: I(X;Y|Z) = log 2 - H(p).

  Args:
    p: probability that y = x xor z is wrong.

  Returns:
    A conditional `Task` of labels.

  Raises:
    InputError: p is outside [0, 1].
  """
  checks.between("p", p, 0.0, 1.0)
  x, y, z = np.indices((2, 2, 2))
  return of_table("xor_given", np.where(y == (x ^ z), 1.0 - p, p) / 4.0, "table: H of its margins")


@family
def table_given(
  kx: int = 3, ky: int = 3, kz: int = 2, concentration: float = 1.0, seed: int = 0
) -> Task:
  """A random table p(x, y, z), drawn from a symmetric Dirichlet distribution, of I(X;Y|Z).

  Args:
    kx: number of values of x.
    ky: number of values of y.
    kz: number of values of z.
    concentration: of the Dirichlet distribution.
    seed: of the table.

  Returns:
    A conditional `Task` of labels.

  Raises:
    InputError: a value out of range.
  """
  p = _random((kx, ky, kz), concentration, seed)
  return of_table("table_given", p, "table: H of its margins")


@family
def table_chain(
  k: int = 4, noise: float = 0.3, first: int = 0, second: int = 1, seed: int = 0
) -> Task:
  """Labels of a Markov chain X0 -> X1 -> X2 -> ...: x is one of them, y a later one.

  Each transition is a random permutation, blurred by a random table. Tasks that differ in `first`
  and `second` alone draw the same chains.

  Formula: p(x_i, x_j) = diag(p_i) P_i ... P_(j-1); I falls with the distance, by data processing.

  Args:
    k: number of values.
    noise: weight of the random table in a transition, in [0, 1].
    first: which of the variables is x.
    second: which one is y, later than `first`.
    seed: of the transitions.

  Returns:
    A `Task` of labels.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("k", k, 2)
  checks.between("noise", noise, 0.0, 1.0)
  checks.at_least("first", first, 0)
  checks.at_least("second", second, first + 1)
  checks.at_least("seed", seed, 0)
  rng = np.random.default_rng([seed, 1])
  start = rng.dirichlet(np.ones(k))
  steps = []
  for _ in range(second):
    moved = np.eye(k)[rng.permutation(k)]
    steps.append((1.0 - noise) * moved + noise * rng.dirichlet(np.ones(k), size=k))
  margin, between = start, np.eye(k)
  for step in steps[:first]:
    margin = margin @ step
  for step in steps[first:]:
    between = between @ step
  task = of_table("table_chain", margin[:, None] * between, "table: product of the transitions")
  cumulative = [np.cumsum(step, axis=1) for step in steps]

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    states = [_inverse(np.broadcast_to(np.cumsum(start), (n, k)), rng.random(n))]
    for ends in cumulative:
      states.append(_inverse(ends[states[-1]], rng.random(n)))
    return states[first], states[second]

  return dataclasses.replace(
    task, sample=sample, stream=f"table_chain:k={k},noise={noise:.12g},seed={seed}"
  )


def _inverse(ends: np.ndarray, u: np.ndarray) -> np.ndarray:
  return np.minimum(np.sum(ends <= u[:, None], axis=1), ends.shape[1] - 1).astype(np.int64)


def _random(shape: tuple[int, ...], concentration: float, seed: int) -> np.ndarray:
  for letter, size in zip("xyz", shape):
    checks.at_least(f"k{letter}", size, 1)
  checks.at_least("concentration", concentration, 0.0, strict=True)
  checks.at_least("seed", seed, 0)
  rng = np.random.default_rng([seed, 0])
  return rng.dirichlet(np.full(math.prod(shape), concentration)).reshape(shape)


FAMILIES = (bsc, bec, xor, table, table_chain, xor_given, table_given)
