"""Jointly Gaussian x [8] and y [4] whose information is known exactly: gaussian:KEY=VALUE,..."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays


@dataclasses.dataclass(frozen=True)
class Task:
  """A jointly Gaussian pair of zero mean, and how many rows are drawn of it.

  Attributes:
    dx: width of x.
    dy: width of y.
    rho: canonical correlations of x and y, each in [0, 1); those not given are 0.
    seed: of the covariance and of the rows.
    train: rows of the training split.
    test: rows of the test split.
  """

  dx: int = 8
  dy: int = 4
  rho: tuple[float, ...] = (0.95, 0.8, 0.6, 0.3)
  seed: int = 0
  train: int = 50_000
  test: int = 20_000

  def factors(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the maps [dx, dx] and [dy, dy] of the canonical variables to x and to y."""
    # Rotated twice with unequal scales between: no axis of x or y is special, nor white.
    rng = np.random.default_rng([self.seed, 0])
    made = []
    for size in (self.dx, self.dy):
      first, last = (_rotation(rng, size) for _ in range(2))
      made.append(first @ np.diag(np.geomspace(0.5, 2.0, size)) @ last)
    return made[0], made[1]

  def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the exact Sigma_x [dx, dx], Sigma_xy [dx, dy] and Sigma_y [dy, dy], float64."""
    to_x, to_y = self.factors()
    return to_x @ to_x.T, to_x @ self._coupling() @ to_y.T, to_y @ to_y.T

  def information_nats(self) -> float:
    """Returns the exact I(X;Y) = -1/2 sum log(1 - rho^2), in nats."""
    return -0.5 * sum(math.log1p(-(r**2)) for r in self.rho)

  def target_entropy_nats(self) -> float:
    """Returns the exact differential entropy H(Y) = 1/2 log det(2 pi e Sigma_y), in nats."""
    log_det = float(np.linalg.slogdet(self.covariances()[2])[1])
    return 0.5 * (self.dy * (math.log(2.0 * math.pi) + 1.0) + log_det)

  def draw(self, n: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws rows.

    Args:
      n: how many.
      stream: another number, other rows.

    Returns:
      (x [n, dx], y [n, dy]), float32.
    """
    rng = np.random.default_rng([self.seed, stream])
    u, noise = rng.standard_normal((n, self.dx)), rng.standard_normal((n, self.dy))
    coupling = self._coupling()
    left = np.sqrt(1.0 - np.sum(coupling**2, axis=0))
    to_x, to_y = self.factors()
    x, y = u @ to_x.T, (u @ coupling + noise * left) @ to_y.T
    return x.astype(np.float32), y.astype(np.float32)

  def _coupling(self) -> np.ndarray:
    coupling = np.zeros((self.dx, self.dy))
    np.fill_diagonal(coupling, [*self.rho, *[0.0] * (min(self.dx, self.dy) - len(self.rho))])
    return coupling


def parse(argument: str) -> Task:
  """Reads what a config says after "gaussian:".

  Args:
    argument: "" or KEY=VALUE pairs joined by commas; keys are the attributes of `Task`, and
      several correlations are joined by slashes: "dx=3,dy=2,rho=0.9/0.5,train=1000".

  Returns:
    A `Task`.

  Raises:
    ConfigError: an unknown key (names the nearest) or a value that does not fit.

  Example:
    >>> from ibjax.data.sources.gaussian import parse
    >>> parse("dx=3,dy=2,rho=0.9/0.5").rho
    (0.9, 0.5)
  """
  keys = [field.name for field in dataclasses.fields(Task)]
  given: dict[str, object] = {}
  for pair in filter(None, argument.split(",")):
    key, _, text = pair.partition("=")
    if key not in keys:
      hint = "Write them as gaussian:dx=8,dy=4,rho=0.95/0.8/0.6/0.3."
      raise ConfigError(unknown("key of source 'gaussian'", key, keys, hint))
    try:
      given[key] = tuple(map(float, text.split("/"))) if key == "rho" else int(text)
    except ValueError:
      wanted = "numbers joined by slashes" if key == "rho" else "a whole number"
      raise ConfigError(f"source 'gaussian': {key}={text!r}, expected {wanted}.") from None
  task = Task(**given)  # type: ignore[arg-type]
  for key in ("dx", "dy", "train", "test"):
    if getattr(task, key) < 1:
      raise ConfigError(f"source 'gaussian': {key}={getattr(task, key)} must be at least 1.")
  if task.seed < 0:
    raise ConfigError(f"source 'gaussian': seed={task.seed} must be at least 0.")
  if len(task.rho) > min(task.dx, task.dy) or not all(0 <= r < 1 for r in task.rho):
    raise ConfigError(
      f"source 'gaussian': rho={'/'.join(f'{r:g}' for r in task.rho)}, expected at most "
      f"{min(task.dx, task.dy)} correlations (the lesser of dx and dy), each in [0, 1). "
      "Set rho, or a larger dx and dy."
    )
  return task


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws a jointly Gaussian data set; `parse(argument)` knows its exact information.

  Args:
    argument: see `parse`.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of float32 x [n, dx] and targets y [n, dy], with its exact H(Y).

  Raises:
    ConfigError: an argument that does not fit.
  """
  del data_dir
  task = parse(argument)
  # Of the parameters, not of the values: another machine's linear algebra may round a few of
  # them another way, and that is still the same data set.
  values = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
  return from_arrays(
    f"gaussian:{argument}" if argument else "gaussian",
    {"train": task.draw(task.train, 1), "test": task.draw(task.test, 2)},
    fingerprint=fingerprint.combine({"gaussian": "1", **{k: repr(v) for k, v in values.items()}}),
    target_entropy_nats=task.target_entropy_nats(),
    information_nats=task.information_nats(),
  )


def _rotation(rng: np.random.Generator, size: int) -> np.ndarray:
  """A rotation or reflection [size, size], uniform."""
  q, r = np.linalg.qr(rng.standard_normal((size, size)))
  return q * np.sign(np.diag(r))
