"""Gaussian Markov chains, and networks of noisy linear layers on Gaussian inputs."""

from __future__ import annotations

import math

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.data.synthetic.normal import entropy, rotation
from ibjax.data.synthetic.task import Arrays, Task, family, joint


@family
def gaussian_chain(
  d: int = 1, rho: tuple[float, ...] = (0.9, 0.8), first: int = 0, second: int = 1
) -> Task:
  """A Gaussian Markov chain X0 -> X1 -> X2 -> ...: x is one of its variables, y a later one.

  Tasks that differ in `first` and `second` alone draw the same chains.

  Formula: I(X_i;X_j) = -d/2 log(1 - prod_(i<=l<j) rho_l^2).

  Args:
    d: width of every variable; its coordinates are chains of their own.
    rho: correlation of each variable with the next, in (-1, 1); as many as there are steps.
    first: which of the variables is x.
    second: which one is y, later than `first` and at most the number of steps.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range.
  """
  checks.at_least("d", d, 1)
  if not all(abs(r) < 1 for r in rho):
    raise InputError(f"rho={'/'.join(f'{r:g}' for r in rho)}, expected numbers in (-1, 1).")
  checks.between("first", first, 0, len(rho))
  checks.between("second", second, first + 1, len(rho))
  nats = -0.5 * d * math.log1p(-(math.prod(rho[first:second]) ** 2)) + 0.0

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    states = [rng.standard_normal((n, d))]
    for r in rho:
      states.append(r * states[-1] + math.sqrt(1.0 - r**2) * rng.standard_normal((n, d)))
    return states[first], states[second]

  one = entropy(np.eye(d))
  return Task(
    id="gaussian_chain",
    dx=d,
    dy=d,
    nats=nats,
    sample=sample,
    source="closed form: correlations along a chain multiply",
    entropies=joint(one, one, nats),
    margins="normal",
    stream=f"gaussian_chain:{d},{'/'.join(f'{r:.12g}' for r in rho)}",
  )


@family
def noisy_layers(
  dx: int = 10,
  dy: int = 2,
  widths: tuple[float, ...] = (6.0, 3.0),
  noise: float = 0.5,
  first: str = "x",
  second: str = "t1",
  seed: int = 0,
) -> Task:
  """Linear layers with noise, T1 = W1 X + noise, T2 = W2 T1 + noise, ..., of a Gaussian input.

  The target is Y = V X + noise. `first` and `second` name the pair: "x", "y", "t1", "t2", ... So
  I(X;T) and I(T;Y) of every layer are tasks, and those that differ in the pair alone draw the
  same rows.

  Formula: I(A;B) = 1/2 log(det C_A det C_B / det C_AB); for the first layer,
  I(X;T1) = 1/2 log det(I + W C_X W' / noise^2).

  Args:
    dx: width of the input, whose covariance has eigenvalues from 1/4 to 4.
    dy: width of the target.
    widths: of the layers.
    noise: standard deviation of the noise of every layer and of the target, above 0.
    first: the variable given as x.
    second: the variable given as y.
    seed: of the weights.

  Returns:
    A `Task`.

  Raises:
    InputError: a value out of range, or names that are none of the variables.
  """
  for name, width in (("dx", dx), ("dy", dy), *(("widths", width) for width in widths)):
    checks.at_least(name, width, 1)
  checks.at_least("noise", noise, 0.0, strict=True)
  checks.at_least("seed", seed, 0)
  sizes = [int(width) for width in widths]
  names = ("x", "y", *(f"t{layer + 1}" for layer in range(len(sizes))))
  for key, name in (("first", first), ("second", second)):
    checks.one_of(key, name, names)
  if first == second:
    raise InputError(
      f"first and second are both '{first}': a variable's information with itself "
      "is infinite. Name two of them."
    )
  weights = np.random.default_rng([seed, 0])
  root = rotation(weights, dx) * np.geomspace(0.5, 2.0, dx)
  # Every variable as a matrix on the independent normals: those of x, of y, of each layer.
  total = dx + dy + sum(sizes)
  maps = {"x": np.hstack([root, np.zeros((dx, total - dx))])}
  source, start = maps["x"], dx
  for name, size in (("y", dy), *zip(names[2:], sizes)):
    before = maps["x"] if name == "y" else source
    made = weights.standard_normal((size, len(before))) @ before / math.sqrt(len(before))
    made[:, start : start + size] += noise * np.eye(size)
    maps[name], start = made, start + size
    if name != "y":
      source = made

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    normal = rng.standard_normal((n, total))
    return normal @ maps[first].T, normal @ maps[second].T

  both = np.vstack([maps[first], maps[second]])
  x, y, xy = (entropy(rows @ rows.T) for rows in (maps[first], maps[second], both))
  return Task(
    id="noisy_layers",
    dx=len(maps[first]),
    dy=len(maps[second]),
    nats=x + y - xy,
    sample=sample,
    source="closed form: log-determinants of covariances",
    entropies={"x": x, "y": y, "xy": xy},
    stream=f"noisy_layers:{dx},{dy},{sizes},{noise:.12g},{seed}",
  )


FAMILIES = (gaussian_chain, noisy_layers)
