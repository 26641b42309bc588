"""Injective maps of x and of y: they change every density and no information.

The maps are those of the 40 tasks of Czyz et al. 2023, "Beyond Normal: On the Evaluation of Mutual
Information Estimators"; here any of them applies to any task of real variables.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from ibjax.core.errors import ConfigError, InputError, unknown
from ibjax.data.synthetic.quadrature import normal_mixture_entropy
from ibjax.data.synthetic.task import Arrays, Task, extended

Map = Callable[[np.ndarray], np.ndarray]

# Weights and means of the two unit-variance normals that `bimodal` maps uniform values to.
_MODES_X = ((0.3, 0.7), (0.0, 5.0))
_MODES_Y = ((0.5, 0.5), (-1.0, 3.0))
# From a mean, farther than any quantile of float64 but not so far that the density is 0.
_FAR = 38.0
_CELL = 1.0 / 64.0  # of the table in which a quantile is looked up first
_NEWTON_STEPS = 6  # each squares the error, which is below 1/64 at first


@dataclasses.dataclass(frozen=True)
class Transform:
  """A map of x and another of y.

  Attributes:
    x: [n, dx] -> [n, dx'].
    y: [n, dy] -> [n, dy'].
    widen_x: dx' - dx.
    least: (dx, dy) at least.
    most: (dx, dy) at most; 0 for any.
    keeps_volume: whether differential entropies are unchanged.
    gains: margins of a task -> what each coordinate of x, and of y, adds to the entropies: the
      mean of the logarithm of the slope. Of other margins, the entropies become unknown.
    makes: margins before -> margins after.
  """

  x: Map
  y: Map
  widen_x: int = 0
  least: tuple[int, int] = (1, 1)
  most: tuple[int, int] = (0, 0)
  keeps_volume: bool = False
  gains: Mapping[str, Callable[[], tuple[float, float]]] = dataclasses.field(default_factory=dict)
  makes: Mapping[str, str] = dataclasses.field(default_factory=dict)


def half_cube(x: np.ndarray) -> np.ndarray:
  """Maps each value to x sqrt|x|: longer tails, and a density with a pole at 0.

  Args:
    x: any shape.

  Returns:
    The same shape.
  """
  return x * np.sqrt(np.abs(x))


def normal_cdf(x: np.ndarray) -> np.ndarray:
  """Maps each value by the standard normal distribution function, to (0, 1).

  Args:
    x: any shape.

  Returns:
    The same shape.

  Raises:
    InputError: a value so far out that its image rounds to 0 or 1: the map would lose information.
  """
  image = ndtr(x)
  if np.any((image == 0.0) | (image == 1.0)):
    raise InputError(
      f"normal_cdf: a value of {np.max(np.abs(x)):.3g} rounds to 0 or 1, where distinct values "
      "fall together. Apply it to variables of unit scale and light tails."
    )
  return image


def wiggly_x(x: np.ndarray) -> np.ndarray:
  """Adds three small waves to x; increasing, as the slopes of the waves sum to less than 1.

  Args:
    x: any shape.

  Returns:
    The same shape.
  """
  return x + 0.4 * np.sin(x) + 0.2 * np.sin(1.7 * x + 1.0) + 0.03 * np.sin(3.3 * x - 2.5)


def wiggly_y(y: np.ndarray) -> np.ndarray:
  """Adds three other waves to y; increasing too.

  Args:
    y: any shape.

  Returns:
    The same shape.
  """
  return y - 0.4 * np.sin(0.4 * y) + 0.17 * np.sin(1.3 * y + 3.5) + 0.02 * np.sin(4.3 * y - 2.5)


def swiss_roll(u: np.ndarray) -> np.ndarray:
  """Rolls an interval into the plane: t (cos t, sin t) / 21 with t = 3/2 pi (1 + 2 u).

  Args:
    u: [n, 1] values of [0, 1]; the roll is injective wherever t > 0.

  Returns:
    [n, 2].

  Raises:
    InputError: values outside [0, 1].
  """
  _in_unit_interval("swissroll_x", u)
  t = 1.5 * np.pi * (1.0 + 2.0 * u)
  return np.concatenate([t * np.cos(t), t * np.sin(t)], axis=1) / 21.0


def spiral(x: np.ndarray, first: int) -> np.ndarray:
  """Turns each row by an angle that grows with its norm; volumes are unchanged.

  Args:
    x: [n, d].
    first: the plane of coordinates `first` and `first + 1` is turned, by |x|^2 / d.

  Returns:
    [n, d].
  """
  angle = np.sum(x**2, axis=1) / x.shape[1]
  cos, sin = np.cos(angle), np.sin(angle)
  turned = x.copy()
  turned[:, first] = cos * x[:, first] - sin * x[:, first + 1]
  turned[:, first + 1] = sin * x[:, first] + cos * x[:, first + 1]
  return turned


def mixture_quantile(u: np.ndarray, weights: Sequence[float], means: Sequence[float]) -> np.ndarray:
  """Quantiles of a mixture of unit-variance normals, by Newton's steps inside a narrow bracket.

  Args:
    u: values of (0, 1), any shape.
    weights: of the normals, summing to 1.
    means: of the normals.

  Returns:
    The same shape.

  Raises:
    InputError: values outside [0, 1].
  """
  _in_unit_interval("bimodal", u)

  share, centre = np.asarray(weights), np.asarray(means)

  def below(x: np.ndarray) -> np.ndarray:
    return ndtr(x[..., None] - centre) @ share

  def density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (x[..., None] - centre) ** 2) @ share / math.sqrt(2.0 * math.pi)

  ends = np.arange(min(means) - _FAR, max(means) + _FAR, _CELL)
  cell = np.clip(np.searchsorted(below(ends), u), 1, len(ends) - 1)
  low, high = ends[cell - 1], ends[cell]
  x = 0.5 * (low + high)
  with np.errstate(over="ignore"):  # far out a step may be infinite: it ends at the bracket
    for _ in range(_NEWTON_STEPS):
      x = np.clip(x - (below(x) - u) / density(x), low, high)
  return x


def _same(x: np.ndarray) -> np.ndarray:
  return x


def _in_unit_interval(name: str, u: np.ndarray) -> None:
  if np.any((u < 0.0) | (u > 1.0)):
    raise InputError(f"{name} takes values of [0, 1]; put normal_cdf before it.")


def _normal_mean(function: Map) -> float:
  """The mean of a smooth function of a standard normal variable, by the trapezium rule."""
  points = np.linspace(-12.0, 12.0, 4801)
  weights = np.exp(-0.5 * points**2)
  return float(weights @ function(points) / weights.sum())


def _asinh_gains() -> tuple[float, float]:
  gain = _normal_mean(lambda x: -0.5 * np.log1p(x**2))
  return gain, gain


def _half_cube_gains() -> tuple[float, float]:
  # The slope is 3/2 sqrt|x|, and the mean of log|x| is -(gamma + log 2)/2.
  gain = math.log(1.5) - 0.25 * (np.euler_gamma + math.log(2.0))
  return gain, gain


def _normal_cdf_gains() -> tuple[float, float]:
  gain = -0.5 * math.log(2.0 * math.pi * math.e)
  return gain, gain


def _bimodal_gains() -> tuple[float, float]:
  of_x, of_y = (normal_mixture_entropy(*modes, (1.0, 1.0)) for modes in (_MODES_X, _MODES_Y))
  return of_x, of_y


def _wiggly_gains() -> tuple[float, float]:
  def log_slope_x(x: np.ndarray) -> np.ndarray:
    waves = 0.4 * np.cos(x) + 0.34 * np.cos(1.7 * x + 1.0) + 0.099 * np.cos(3.3 * x - 2.5)
    return np.log1p(waves)

  def log_slope_y(y: np.ndarray) -> np.ndarray:
    waves = -0.16 * np.cos(0.4 * y) + 0.221 * np.cos(1.3 * y + 3.5)
    return np.log1p(waves + 0.086 * np.cos(4.3 * y - 2.5))

  return _normal_mean(log_slope_x), _normal_mean(log_slope_y)


TRANSFORMS = {
  "asinh": Transform(np.arcsinh, np.arcsinh, gains={"normal": _asinh_gains}),
  "bimodal": Transform(
    functools.partial(mixture_quantile, weights=_MODES_X[0], means=_MODES_X[1]),
    functools.partial(mixture_quantile, weights=_MODES_Y[0], means=_MODES_Y[1]),
    gains={"uniform": _bimodal_gains},
  ),
  "half_cube": Transform(half_cube, half_cube, gains={"normal": _half_cube_gains}),
  "normal_cdf": Transform(
    normal_cdf,
    normal_cdf,
    gains={"normal": _normal_cdf_gains},
    makes={"normal": "uniform"},
  ),
  "spiral": Transform(
    functools.partial(spiral, first=0),
    functools.partial(spiral, first=1),
    least=(2, 3),
    keeps_volume=True,
  ),
  "swissroll_x": Transform(swiss_roll, _same, widen_x=1, most=(1, 0)),
  "wiggly": Transform(wiggly_x, wiggly_y, gains={"normal": _wiggly_gains}),
}


def apply(task: Task, then: Sequence[str]) -> Task:
  """Transforms a task; its information and its draws of the untransformed rows stay the same.

  Args:
    task: a task of real x and y.
    then: names of `TRANSFORMS`, the first one first.

  Returns:
    A new `Task`, named with the key `then`; the task itself when there is nothing to apply.

  Raises:
    ConfigError: an unknown transform; names the nearest.
    InputError: labels, a conditional task, or widths that a transform does not take.

  Example:
    >>> from ibjax.data.synthetic.normal import gaussian
    >>> apply(gaussian(d=3), ("spiral",)).id
    'gaussian:d=3,then=spiral'
  """
  if not then:
    return task
  for name in then:
    if name not in TRANSFORMS:
      raise ConfigError(unknown("transform", name, TRANSFORMS))
  if not (task.dx and task.dy) or task.dz is not None:
    raise InputError(f"{task.id}: transforms are for pairs of real variables, without a z.")
  maps, dx = [TRANSFORMS[name] for name in then], task.dx
  entropies, margins = dict(task.entropies), task.margins
  for name, each in zip(then, maps):
    for side, width, least, most in zip("xy", (dx, task.dy), each.least, each.most):
      if width < least or (most and width > most):
        wanted = f"exactly {most}" if most == least else f"at least {least}"
        raise InputError(f"{task.id}: {name} takes a d{side} of {wanted}, found {width}.")
    dx += each.widen_x
    if margins in each.gains:
      gain_x, gain_y = each.gains[margins]()
      added = {"x": dx * gain_x, "y": task.dy * gain_y}
      added["xy"] = added["x"] + added["y"]
      entropies = {key: value + added[key] for key, value in entropies.items()}
    elif not each.keeps_volume:
      entropies = {}
    margins = each.makes.get(margins, "")

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x, y = task.sample(rng, n)
    for each in maps:
      x, y = each.x(x), each.y(y)
    return x, y

  return dataclasses.replace(
    task,
    id=extended(task.id, "then", "/".join(then)),
    dx=dx,
    sample=sample,
    source=f"{task.source}; then injective maps of x and of y",
    entropies=entropies,
    margins=margins,
    x_shape=(),
    stream=task.stream or task.id,
  )
