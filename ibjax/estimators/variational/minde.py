"""Mutual information from the scores of a diffusion (MINDE).

Source: Franzese, Bounoua and Michiardi 2024, "MINDE: mutual information neural diffusion
estimation" (arXiv:2310.09031).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base import diffusion
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import apply_mlp, init_mlp
from ibjax.estimators.base.splits import centre, scale, split

Array = jax.Array
Tree = Any

# What of (x, y) a prediction is of and given: 1 diffused, 0 clean and conditioned on, -1 absent.
_MASKS = {"c": ((1, -1), (1, 0)), "j": ((1, 1), (1, 0), (0, 1))}
_FREQUENCIES = 4


def minde(
  variant: str = "c",
  difference: str = "inside",
  sigma: Scalar = 1.0,
  sizes: tuple[int, ...] | None = None,
  steps: int = 4000,
  batch_size: int = 256,
  learning_rate: Scalar = 1e-3,
  passes: int = 10,
  transform: str = "standardize",
) -> Estimator:
  """Integrates how far the score given y is from the score without it, over all levels of noise.

  Formula: with l the log signal-to-noise ratio and e(.) the noise predicted from diffused values,
  c: I = 1/2 integral E|e(x_t | y) - e(x_t)|^2 dl;
  j: I = 1/2 integral E|e(x_t, y_t) - [e(x_t | y), e(y_t | x)]|^2 dl.
  The difference "outside" takes D(e) = 1/2 integral E|e - e_ref|^2 dl of each, e_ref that of
  N(0, sigma^2 I): c: D(e(x_t | y)) - D(e(x_t)); j: D(e(x_t | y)) + D(e(y_t | x)) - D(e(x_t, y_t)).
  One network predicts all of them; l is drawn uniformly, one in each of n strata, which is the
  paper's importance sampling of time. What is reported is of rows held out from the fit.

  Assumes densities, and enough steps for the network to know the scores: with exact scores all
  four forms give I, up to what lies beyond the ends of l (base/diffusion.py). Use it for
  continuous variables of high dimension whose information is high, where critics saturate and
  neighbours collapse; for few samples or little information use a neighbour method.

  Bias: the inside form is never negative, and the noise of an imperfect fit adds to it; a network
  that has not learnt how y matters lowers it. The outside form has more variance, may be
  negative, and takes its errors from the difference of two large numbers. Neither is a bound.

  Args:
    variant: "c", x diffused with and without y beside it, or "j", both diffused together.
    difference: "inside" or "outside" the squared norm; both are in the diagnostics.
    sigma: standard deviation of the reference of "outside", > 0, in units of scaled x.
    sizes: widths of the network's hidden layers; None takes three of 64 for up to 10 dimensions
      of x and y together, 128 for up to 50, 256 above.
    steps: the most updates.
    batch_size: rows of a batch.
    learning_rate: Adam's; may be traced.
    passes: how often each held-out row is diffused for the report.
    transform: of the columns before the fit: "standardize", "ranks" for heavy tails, or "none".

  Returns:
    An `Estimator` with "inside_nats", "outside_nats", "validation_loss" and "best_step" among its
    diagnostics.

  Raises:
    InputError: an unknown variant, difference or transform; a sigma that is not positive.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.variational.minde import minde
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=64)
    >>> small = minde(sizes=(8,), steps=2, passes=1)
    >>> bool(np.isfinite(small(x, x + rng.normal(size=64)).nats))
    True

  Source: Franzese et al. 2024 (arXiv:2310.09031), section 4 (the four forms); the network's
    masks, sizes and settings after the authors' published code. The residual form of the
    prediction, e = noise x_t + F / cosh(l / 2), is ours: F = 0 is the exact score of N(0, I), and
    errors of F count less where signal or noise alone is left.
  """
  checks.one_of("variant", variant, tuple(_MASKS))
  checks.one_of("difference", difference, ("inside", "outside"))
  checks.at_least("sigma", sigma, 0.0, strict=True)
  checks.at_least("passes", passes, 1)

  def value(x, y, z, key):
    del z
    found = _fit_and_report(
      centre(x),
      centre(y),
      key,
      sigma,
      learning_rate,
      variant=variant,
      sizes=_sizes(x.shape[1] + y.shape[1]) if sizes is None else tuple(sizes),
      steps=steps,
      batch_size=batch_size,
      passes=passes,
      transform=transform,
    )
    local = found.pop(f"{difference}_local")
    found.pop("outside_local" if difference == "inside" else "inside_local")
    stderr = jnp.std(local, ddof=1) / jnp.sqrt(len(local))
    return Value(found[f"{difference}_nats"], stderr=stderr, extra=found)

  return Estimator(
    name="minde",
    value=value,
    no_interval="the error of the learnt scores is unknown; the standard error is that of the "
    "held-out rows alone",
    jittable=True,
    needs_key=True,
    min_n=16,
  )


def _sizes(dim: int) -> tuple[int, ...]:
  return (64 if dim <= 10 else 128 if dim <= 50 else 256,) * 3


@functools.partial(
  jax.jit, static_argnames=("variant", "sizes", "steps", "batch_size", "passes", "transform")
)
def _fit_and_report(
  x: Array,
  y: Array,
  key: Array,
  sigma: Scalar,
  learning_rate: Scalar,
  *,
  variant: str,
  sizes: tuple[int, ...],
  steps: int,
  batch_size: int,
  passes: int,
  transform: str,
) -> dict[str, Array]:
  masks = _MASKS[variant]
  parts = scale(split((x, y), key), transform)
  dx, dy = x.shape[1], y.shape[1]
  params = init_mlp(rng.stream(key, "init"), (dx + dy + 5 + 2 * _FREQUENCIES, *sizes, dx + dy))
  params[-1]["w"] = jnp.zeros_like(params[-1]["w"])  # starts at the exact score of N(0, I)

  def predict(params, rows, key):
    n = len(rows[0])
    log_snr = diffusion.draw_log_snr(rng.stream(key, "ratio"), n)
    added = rng.normal(rng.stream(key, "noise"), (n, dx + dy))
    signal, noise = (one[:, None] for one in diffusion.levels(log_snr))
    noisy = signal * jnp.concatenate(rows, axis=1) + noise * added
    return _predict(params, rows, noisy, log_snr, masks), noisy, log_snr, added

  def loss(params, rows, key):
    predicted, _, _, added = predict(params, rows, key)
    total = jnp.float32(0.0)
    for (mx, my), one in zip(masks, predicted):
      error = jnp.square(one - added)
      # The joint score has the most to learn and counts for two, as in the paper's code.
      used = error[:, (0 if mx == 1 else dx) : (dx + dy if my == 1 else dx)]
      total += jnp.mean(used) * (2.0 if mx == my == 1 else 1.0)
    return total / (len(masks) + (variant == "j"))

  def check(params, rows, _):
    # The same noise at every check, or the luckiest draw would be chosen.
    return jnp.mean(jax.lax.map(lambda i: loss(params, rows, rng.stream(key, "check", i)), draws))

  draws = jnp.arange(4)
  fitted = fit(
    loss,
    params,
    parts.train,
    parts.validation,
    key=key,
    steps=steps,
    batch_size=batch_size,
    learning_rate=learning_rate,
    check_every=min(steps, 200),
    patience=10,
    check=check,
  )

  def report(i):
    predicted, noisy, log_snr, _ = predict(fitted.params, parts.test, rng.stream(key, "report", i))

    def from_reference(noise, points):
      return diffusion.reference_gap_nats(noise, points, log_snr, sigma)

    given_y = predicted[1][:, :dx]
    outside = from_reference(given_y, noisy[:, :dx])
    if variant == "c":
      alone = predicted[0][:, :dx]
      outside = outside - from_reference(alone, noisy[:, :dx])
      return diffusion.gap_nats(alone, given_y), outside
    given_x = predicted[2][:, dx:]
    outside = outside + from_reference(given_x, noisy[:, dx:]) - from_reference(predicted[0], noisy)
    both = jnp.concatenate([given_y, given_x], axis=1)
    return diffusion.gap_nats(predicted[0], both), outside

  inside, outside = (jnp.mean(one, axis=0) for one in jax.lax.map(report, jnp.arange(passes)))
  return {
    "inside_nats": jnp.mean(inside),
    "outside_nats": jnp.mean(outside),
    "inside_local": inside,
    "outside_local": outside,
    "validation_loss": jnp.nanmin(fitted.history),
    "best_step": fitted.best_step,
  }


def _predict(
  params: Tree, rows: tuple[Array, Array], noisy: Array, log_snr: Array, masks: Any
) -> list[Array]:
  """The noise predicted under each mask, [n, dx + dy]; only the diffused columns mean anything."""
  x, y = rows
  n, dx = x.shape
  phase = log_snr[:, None] / 10.0 * (0.5 * np.pi * np.arange(1, 1 + _FREQUENCIES))
  level = [log_snr[:, None] / 10.0, jnp.sin(phase), jnp.cos(phase)]
  inputs = []
  for mask in masks:
    given = []
    for kind, clean, diffused in zip(mask, (x, y), (noisy[:, :dx], noisy[:, dx:])):
      given += [{1: diffused, 0: clean, -1: jnp.zeros_like(clean)}[kind]]
      given += [jnp.full((n, 1), float(kind == 1)), jnp.full((n, 1), float(kind == -1))]
    inputs.append(jnp.concatenate(given + level, axis=1))
  out = apply_mlp(params, jnp.concatenate(inputs), jax.nn.silu)
  _, noise = diffusion.levels(log_snr)
  base = noise[:, None] * noisy
  gain = 1.0 / jnp.cosh(0.5 * log_snr)[:, None]
  return [base + gain * one for one in jnp.split(out, len(masks))]


def _pair(rho: float, n: int):
  draw = np.random.default_rng(0).normal(size=(2, n))
  return dict(x=draw[0], y=rho * draw[0] + np.sqrt(1.0 - rho**2) * draw[1])


_SMALL: dict[str, Any] = dict(sizes=(32, 32), steps=2000, learning_rate=3e-3)

CASES = tuple(
  Case(
    name=f"correlated Gaussians, {variant}, {difference}",
    hyper=dict(variant=variant, difference=difference, **_SMALL),
    inputs=lambda: _pair(0.9, 2000),
    expected=dict(nats=0.8304),
    source="closed form: -log(1 - 0.9^2) / 2",
    rtol=0.15,
  )
  for variant, difference in (("c", "inside"), ("j", "outside"))
)

# The budget of the checks that hold for any samples.
TINY: dict[str, Any] = dict(sizes=(16,), steps=50, passes=2)

TRUTHS = (Truth("gaussian:d=2,rho=0.6", 4000, 0.1, dict(variant="j", **_SMALL)),)
