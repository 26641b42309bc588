"""True I(X;Z) and I(Y;Z) of a trained encoder where X takes few values, against the exact curve.

With few values of x the density of the code is a finite mixture that is known exactly, so that
nothing is bounded: what is left is the integral over z, by Monte Carlo with an error bar.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr, logsumexp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian, convert
from ibjax.core.types import Trained
from ibjax.exact.discrete_ib import DiscreteIb, curve, discrete_ib

_MOST = 256  # values of x; the cost of a sample grows with them
_BETAS = 200  # points of the exact curve


class Plane(NamedTuple):
  """Where a code is; the sampled z of each x are rows.

  Attributes:
    label_noise: [kx, s] H(Y|z) of each sample, nats.
    input_noise: [kx, s] H(X|z).
  """

  label_noise: np.ndarray
  input_noise: np.ndarray


def exact_plane(samples: int = 4000, split: str = "train") -> Callable[[Trained], dict[str, float]]:
  """Measures the true place of a code in the information plane, and how far it is from the best.

  Formula: I(X;Z) = H(X) - E H(X|z), I(Y;Z) = H(Y) - E H(Y|z) with p(x|z) ~ p(x) q(z|x) over all
  values of x and p(y|z) = sum_x p(x|z) p(y|x); z is drawn from q(z|x) for each x alike. The gap is
  F(I(X;Z)) - I(Y;Z), F the exact curve; the excess is the Lagrangian beta I(X;Z) - I(Y;Z) less its
  minimum, at the objective's own beta where that is the price of an information in nats.

  Args:
    samples: codes drawn for each value of x; the errors fall with the root of it.
    split: whose frequencies are p(x, y).

  Returns:
    `assess(trained)` that gives i_xz_nats, i_yz_nats, gap_nats, each with its standard error over
    the samples (..._se_nats), and excess_nats with excess_se_nats where there is a beta. A code
    without noise is measured by which values of x it tells apart, without an error.

  Raises:
    InputError: x takes more than 256 values (on use), fewer than 2 samples.

  Example:
    >>> from ibjax.evaluators.exact_plane import exact_plane
    >>> assess = exact_plane(samples=1000)
  """
  checks.at_least("samples", samples, 2)

  def assess(trained: Trained) -> dict[str, float]:
    x, joint = values_and_table(trained.data("", split))
    code = trained.forward(x)
    if "log_scale" in code:
      rng = np.random.default_rng([trained.seed, 1])
      plane = sample_plane(code["mean"], code["log_scale"], joint, samples, rng)
    else:
      plane = partition_plane(code["code"], joint)
    return place_on_curve(plane, joint, _price(trained.config))

  return assess


def values_and_table(data: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """The values that x takes, and how often each goes with each label.

  Args:
    data: "x" [n, ...] and labels "y" [n].

  Returns:
    (x [kx, ...], p(x, y) [kx, ky]).

  Raises:
    InputError: y is no label, or x takes more than 256 values.
  """
  x, y = np.asarray(data["x"]), np.asarray(data["y"])
  if y.ndim != 1:
    raise InputError(f"exact_plane needs labels [n], and y has shape {list(y.shape)}.")
  flat, inverse = np.unique(x.reshape(len(x), -1), axis=0, return_inverse=True)
  if len(flat) > _MOST:
    raise InputError(
      f"exact_plane sums over all values of x, and here x takes {len(flat)}, more than {_MOST}. "
      "Use a source 'discrete:...'; elsewhere the bounds i_xz_infonce_lower_nats and "
      "i_xz_loo_upper_nats of the run stand for I(X;Z)."
    )
  table = np.zeros((len(flat), int(y.max()) + 1))
  np.add.at(table, (inverse.reshape(-1), y), 1.0)
  table = table[:, table.sum(axis=0) > 0]
  return flat.reshape(len(flat), *x.shape[1:]), table / len(x)


def sample_plane(
  mean: np.ndarray,
  log_scale: np.ndarray,
  joint: np.ndarray,
  samples: int,
  rng: np.random.Generator,
) -> Plane:
  """Draws codes of every x, and what is left unknown of x and y given each of them.

  Args:
    mean: [kx, d].
    log_scale: [kx, d].
    joint: [kx, ky].
    samples: of each x; halves are mirror images, whose errors partly cancel.
    rng: draws them.

  Returns:
    A `Plane`, [kx, samples // 2]: each entry is the mean of a pair.
  """
  mean, log_scale = np.asarray(mean, np.float64), np.asarray(log_scale, np.float64)
  weight = joint.sum(axis=1)
  given = joint / weight[:, None]
  noise = rng.standard_normal((samples // 2, mean.shape[1]))
  noise = np.stack([noise, -noise])
  left_x, left_y = [], []
  for m, s in zip(mean, log_scale):
    z = m + np.exp(s) * noise  # [2, s, d]
    standard = (z[:, :, None] - mean) * np.exp(-log_scale)
    score = -0.5 * np.sum(standard**2, axis=-1) - log_scale.sum(axis=-1) + np.log(weight)
    posterior = np.exp(score - logsumexp(score, axis=-1, keepdims=True))
    left_x.append(entr(posterior).sum(axis=-1).mean(axis=0))
    left_y.append(entr(posterior @ given).sum(axis=-1).mean(axis=0))
  return Plane(np.array(left_y), np.array(left_x))


def partition_plane(code: np.ndarray, joint: np.ndarray) -> Plane:
  """What a code without noise leaves unknown: codes that agree to 1e-5 are one.

  Args:
    code: [kx, d].
    joint: [kx, ky].

  Returns:
    A `Plane` with one entry for each x.
  """
  scale = 1e-5 * max(1.0, float(np.max(np.abs(code))))
  cell = np.unique(np.round(code / scale), axis=0, return_inverse=True)[1].reshape(-1)
  same = cell[:, None] == cell
  posterior = same * joint.sum(axis=1)
  posterior /= posterior.sum(axis=1, keepdims=True)
  given = joint / joint.sum(axis=1, keepdims=True)
  noise = [entr(p).sum(axis=1, keepdims=True) for p in (posterior @ given, posterior)]
  return Plane(*noise)


def place_on_curve(plane: Plane, joint: np.ndarray, price: float | None) -> dict[str, float]:
  """Turns what is left unknown into informations, their gaps and errors.

  Args:
    plane: from `sample_plane` or `partition_plane`.
    joint: [kx, ky].
    price: of a nat of I(X;Z); None when the objective has none.

  Returns:
    The metrics of `exact_plane`.
  """
  weight = joint.sum(axis=1)
  solved = exact_curve(joint.tobytes(), joint.shape)
  entropies = [float(entr(joint.sum(axis=axis)).sum()) for axis in (1, 0)]
  rate = entropies[0] - float(weight @ plane.input_noise.mean(axis=1))
  kept = entropies[1] - float(weight @ plane.label_noise.mean(axis=1))
  step = 1e-3
  near = curve(solved, np.maximum([rate - step, rate, rate + step], 0.0))
  slope = (near[2] - near[0]) / (2 * step)

  def error(values: np.ndarray) -> float:
    count = values.shape[1]
    if count < 2:
      return 0.0
    return float(np.sqrt(np.sum(weight**2 * values.var(axis=1, ddof=1) / count)))

  found = {
    "i_xz_nats": rate,
    "i_xz_se_nats": error(plane.input_noise),
    "i_yz_nats": kept,
    "i_yz_se_nats": error(plane.label_noise),
    "gap_nats": float(near[1]) - kept,
    "gap_se_nats": error(plane.label_noise - slope * plane.input_noise),
  }
  if price is not None:
    # The lower envelope over the points is the minimum to second order in the step of beta.
    best = np.min(price * solved.rate_nats - solved.relevance_nats)
    found["excess_nats"] = price * rate - kept - min(float(best), 0.0)
    found["excess_se_nats"] = error(plane.label_noise - price * plane.input_noise)
  return found


@functools.lru_cache(maxsize=16)
def exact_curve(joint: bytes, shape: tuple[int, int]) -> DiscreteIb:
  """The exact curve of a table, solved once.

  Args:
    joint: the bytes of float64 [kx, ky].
    shape: (kx, ky).

  Returns:
    The solution at 200 betas, up to one at which all is kept.
  """
  table = np.frombuffer(joint).reshape(shape)
  return discrete_ib(table, np.geomspace(1.0, 1e4, _BETAS))


def _price(config: Mapping[str, Any]) -> float | None:
  """The price of a nat of I(X;Z) that an objective states, None where it has no such beta."""
  module = importlib.import_module(config["objective"]["fn"].partition(":")[0])
  lagrangian = getattr(module, "LAGRANGIAN", Lagrangian("none"))
  beta = config["objective"].get("beta")
  known = lagrangian.penalty in ("I(X;Z)", "I(X;Z|Y)") and lagrangian.form != "none"
  return convert(beta, lagrangian.form, "rate") if known and beta else None
