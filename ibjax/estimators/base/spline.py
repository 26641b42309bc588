"""A monotone map of the real line by rational quadratics, and its slope."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core.numerics import inverse_softplus

Array = jax.Array
_LEAST = 1e-3  # of a bin's share of the interval, and of a slope at a knot


def parameters_of(bins: int) -> int:
  """Counts the raw parameters of one spline: a width and a height a bin, a slope an inner knot.

  Args:
    bins: how many bins.

  Returns:
    3 bins - 1.
  """
  return 3 * bins - 1


def spline(u: Array, raw: Array, *, bound: float = 4.0) -> tuple[Array, Array]:
  """Maps u by an increasing spline of rational quadratics; outside [-bound, bound] it is u itself.

  Formula: in a bin of width w, height h, mean slope s = h / w, slopes d0, d1 at its ends, and
  t = (u - left) / w: z = bottom + h (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t)).
  Raw parameters of zero make it the identity.

  Args:
    u: [...].
    raw: [..., 3 bins - 1] without limits: widths, heights, slopes at the inner knots.
    bound: where the tails, of slope one, begin.

  Returns:
    (z, log slope), both [...].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.spline import spline
    >>> z, log_slope = spline(jnp.float32(0.5), jnp.zeros(8))
    >>> float(z), abs(float(log_slope)) < 1e-5
    (0.5, True)

  Source: Durkan et al. 2019, "Neural spline flows" (arXiv:1906.04032), after Gregory and
    Delbourgo 1982; here with tails of slope one.
  """
  bins = (raw.shape[-1] + 1) // 3
  widths, left = _knots(raw[..., :bins], bound)
  heights, bottom = _knots(raw[..., bins : 2 * bins], bound)
  inner = _LEAST + jax.nn.softplus(raw[..., 2 * bins :] + inverse_softplus(1.0 - _LEAST))
  one = jnp.ones_like(inner[..., :1])
  slopes = jnp.concatenate([one, inner, one], axis=-1)

  inside = jnp.abs(u) < bound
  safe = jnp.where(inside, u, 0.0)  # the tails get no gradient from the spline
  place = jnp.sum(safe[..., None] >= left[..., 1:], axis=-1)

  def at(values: Array) -> Array:
    return jnp.take_along_axis(values, place[..., None], axis=-1)[..., 0]

  w, h = at(widths), at(heights)
  d0, d1 = at(slopes[..., :-1]), at(slopes[..., 1:])
  s = h / w
  t = jnp.clip((safe - at(left)) / w, 0.0, 1.0)
  both = t * (1.0 - t)
  below = s + (d0 + d1 - 2.0 * s) * both
  z = at(bottom) + h * (s * jnp.square(t) + d0 * both) / below
  rise = d1 * jnp.square(t) + 2.0 * s * both + d0 * jnp.square(1.0 - t)
  log_slope = 2.0 * jnp.log(s) + jnp.log(rise) - 2.0 * jnp.log(below)
  return jnp.where(inside, z, u), jnp.where(inside, log_slope, 0.0)


def _knots(raw: Array, bound: float) -> tuple[Array, Array]:
  """Sizes of the bins, which fill [-bound, bound], and where each begins."""
  share = _LEAST + (1.0 - _LEAST * raw.shape[-1]) * jax.nn.softmax(raw, axis=-1)
  sizes = 2.0 * bound * share
  return sizes, jnp.cumsum(sizes, axis=-1) - sizes - bound
