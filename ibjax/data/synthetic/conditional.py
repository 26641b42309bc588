"""Real variables with a third one, z, and the exact I(X;Y|Z)."""

from __future__ import annotations

import math

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.data.synthetic.normal import correlations
from ibjax.data.synthetic.task import Arrays, Task, family


@family
def gaussian_given(
  d: int = 1,
  dz: int = 1,
  rho: tuple[float, ...] = (0.6,),
  strength: float = 1.0,
  dx: int = 0,
  dy: int = 0,
) -> Task:
  """Gaussian x and y that z drives both, and whose residuals are correlated in pairs.

  Coordinate i of x and of y is strength times coordinate i mod dz of z, plus a residual. With
  rho=0, X - Z - Y is a Markov chain: I(X;Y|Z) = 0 although x and y are correlated.

  Formula: I(X;Y|Z) = -1/2 sum log(1 - rho_i^2).

  Args:
    d: width of x and of y.
    dz: width of z.
    rho: one correlation of the residuals for all pairs, or one for each of the first pairs.
    strength: weight of z, whose coordinates have variance 1 as the residuals have.
    dx: width of x; 0 for d.
    dy: width of y; 0 for d.

  Returns:
    A conditional `Task`.

  Raises:
    InputError: a value out of range.
  """
  coupling = correlations(d, dx, dy, rho, 0.0)
  dx, dy = coupling.shape
  checks.at_least("dz", dz, 1)
  nats = -0.5 * float(np.sum(np.log1p(-(np.diag(coupling) ** 2))))

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    z = rng.standard_normal((n, dz))
    x, noise = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    y = x @ coupling + noise * np.sqrt(1.0 - np.sum(coupling**2, axis=0))
    return (
      x + strength * z[:, np.arange(dx) % dz],
      y + strength * z[:, np.arange(dy) % dz],
      z,
    )

  source = "closed form: partial canonical correlations"
  # -0.0 of rho = 0 becomes 0.
  return Task("gaussian_given", dx, dy, nats + 0.0, sample, source, dz=dz)


@family
def mediated(rho_xz: float = 0.8, rho_zy: float = 0.8, given: int = 1) -> Task:
  """A Gaussian Markov chain X - Z - Y: all that x knows of y is in z.

  Formula: I(X;Y|Z) = 0; I(X;Y) = -1/2 log(1 - rho_xz^2 rho_zy^2).

  Args:
    rho_xz: correlation of x and z, in (-1, 1).
    rho_zy: correlation of z and y, in (-1, 1).
    given: 1 for I(X;Y|Z); 0 for I(X;Y) of the same rows, without z.

  Returns:
    A `Task`, conditional where given=1.

  Raises:
    InputError: a value out of range.
  """
  for name, rho in (("rho_xz", rho_xz), ("rho_zy", rho_zy)):
    if not -1.0 < rho < 1.0:
      raise InputError(f"{name} is {rho:g}, expected a number in (-1, 1).")
  checks.between("given", given, 0, 1)

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x, first, second = rng.standard_normal((3, n, 1))
    z = rho_xz * x + math.sqrt(1.0 - rho_xz**2) * first
    y = rho_zy * z + math.sqrt(1.0 - rho_zy**2) * second
    return (x, y, z) if given else (x, y)

  return Task(
    id="mediated",
    dx=1,
    dy=1,
    nats=0.0 if given else -0.5 * math.log1p(-((rho_xz * rho_zy) ** 2)),
    sample=sample,
    source="closed form: a Markov chain",
    dz=1 if given else None,
    stream=f"mediated:{rho_xz:.12g},{rho_zy:.12g}",
  )


@family
def switched(rho: tuple[float, ...] = (0.9, -0.9), offset: float = 0.0) -> Task:
  """A uniform label z that chooses the correlation of Gaussian x and y, and their mean.

  Formula: I(X;Y|Z) = mean over z of -1/2 log(1 - rho_z^2).

  Args:
    rho: one correlation for each value of z, in (-1, 1).
    offset: x and y have mean offset times z.

  Returns:
    A conditional `Task` with z labels.

  Raises:
    InputError: a correlation outside (-1, 1).
  """
  table = np.asarray(rho, np.float64)
  if not np.all(np.abs(table) < 1.0):
    raise InputError(f"rho={'/'.join(f'{r:g}' for r in rho)}, expected numbers in (-1, 1).")

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    z = rng.integers(0, len(table), n)
    x, noise = rng.standard_normal((2, n))
    y = table[z] * x + np.sqrt(1.0 - table[z] ** 2) * noise
    return (x + offset * z)[:, None], (y + offset * z)[:, None], z

  nats = -0.5 * float(np.mean(np.log1p(-(table**2)))) + 0.0
  source = "closed form: the mean of the information given each label"
  return Task("switched", 1, 1, nats, sample, source, dz=0, classes={"z": len(table)})


FAMILIES = (gaussian_given, mediated, switched)
