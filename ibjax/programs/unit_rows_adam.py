"""Adam under the constraint that the rows of chosen matrices have unit length."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ibjax.core.types import Scalar


class _UnitRows(NamedTuple):
  inner: Any


def unit_rows_adam(
  learning_rate: Any = 1e-3,
  rows: tuple[str, ...] = ("W_dec",),
  b1: Scalar = 0.9,
  b2: Scalar = 0.999,
  eps: Scalar = 1e-8,
) -> optax.GradientTransformation:
  """Adam along the sphere: gradients are projected, and rows end at unit length.

  Formula: of each row w the gradient loses its part along w, g - (g . w / |w|^2) w; Adam gives
  w + u; the row becomes (w + u) / |w + u|. Other parameters take plain Adam.

  Without the projection Adam's averages hold a radial part, which the next normalisation undoes,
  and which makes the step along the sphere smaller.

  Args:
    learning_rate: a number, or a function of the number of updates done.
    rows: names of the parameters whose rows have unit length, wherever they stand.
    b1: decay of the average of gradients.
    b2: decay of the average of their squares.
    eps: added to the root of the latter.

  Returns:
    An optax transformation.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.unit_rows_adam import unit_rows_adam
    >>> params = {"W_dec": jnp.array([[1.0, 0.0]])}
    >>> adam = unit_rows_adam(0.1)
    >>> updates, _ = adam.update({"W_dec": jnp.ones((1, 2))}, adam.init(params), params)
    >>> [round(v, 4) for v in (params["W_dec"] + updates["W_dec"])[0].tolist()]
    [0.995, -0.0995]
  """
  adam = optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)

  def init(params):
    return _UnitRows(adam.init(params))

  def update(gradients, state, params=None):
    def tangent(path, g, w):
      if not _names(path, rows):
        return g
      along = jnp.sum(g * w, axis=-1, keepdims=True)
      return g - along / jnp.maximum(_square(w), 1e-30) * w

    def back(path, u, w):
      if not _names(path, rows):
        return u
      moved = w + u
      return moved * jax.lax.rsqrt(jnp.maximum(_square(moved), 1e-30)) - w

    along = jax.tree_util.tree_map_with_path(tangent, gradients, params)
    updates, inner = adam.update(along, state.inner, params)
    return jax.tree_util.tree_map_with_path(back, updates, params), _UnitRows(inner)

  return optax.GradientTransformation(init, update)


def _names(path: tuple[Any, ...], rows: tuple[str, ...]) -> bool:
  return str(getattr(path[-1], "key", "")) in rows


def _square(w: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(w), axis=-1, keepdims=True)
