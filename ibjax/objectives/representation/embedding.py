"""The vectors that representation objectives compare, without the rows that are masked out.

What is compared is the bottleneck's "projection" where it gives one, else the code itself: methods
that compare views keep a better code below a small network that is thrown away afterwards (Chen
et al. 2020, arXiv:2002.05709, section 4.2).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Batch, Outputs

Array = jax.Array
_LEAST_SQUARE = 1e-12  # below it a row is not lengthened to one: zero has no direction


def embedded(outputs: Outputs, batch: Batch) -> tuple[Array, Array]:
  """Returns what is compared, with zeros in the rows that do not count.

  Args:
    outputs: the model's.
    batch: with "mask" [n].

  Returns:
    (z [n, d], float32 at least, weight [n] float32, 1 where a row counts and 0 where not).

  Raises:
    InputError: a mask of another length.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.types import Code, Outputs
    >>> from ibjax.objectives.representation.embedding import embedded
    >>> outputs = Outputs(Code(jnp.ones((2, 1)), None, None, {}), jnp.zeros((2, 3)))
    >>> embedded(outputs, {"mask": jnp.array([True, False])})[0].tolist()
    [[1.0], [0.0]]
  """
  code = outputs.code
  z = code.aux.get("projection", code.value)
  z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
  checks.shape("mask", batch["mask"], z.shape[:1])
  # `where`, not a product: a masked row may hold anything, and 0 times infinity is not 0.
  kept = jnp.where(batch["mask"][:, None], z, 0.0)
  return kept, batch["mask"].astype(jnp.float32)


def embedded_views(outputs: Outputs, batch: Batch) -> tuple[Array, Array]:
  """Returns what is compared, view by view.

  Args:
    outputs: the model's, with its number of views.
    batch: with "mask" [views n], the same for each view of an example.

  Returns:
    (z [views, n, d], weight [n]), as of `embedded`.

  Raises:
    InputError: a mask of another length.
  """
  z, weight = embedded(outputs, batch)
  return z.reshape(outputs.views, -1, z.shape[-1]), weight[: len(weight) // outputs.views]


def unit(z: Array) -> Array:
  """Scales vectors to length one; a zero vector stays zero, with a finite gradient.

  Formula: z / max(|z|, 1e-6).

  Args:
    z: [..., d].

  Returns:
    [..., d].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.representation.embedding import unit
    >>> unit(jnp.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
  """
  square = jnp.sum(jnp.square(z), axis=-1, keepdims=True)
  return z * jax.lax.rsqrt(jnp.maximum(square, _LEAST_SQUARE))


def centred(z: Array, weight: Array) -> Array:
  """Takes off the mean over the rows that count; the others stay zero.

  Args:
    z: [..., n, d].
    weight: [n], 1 where a row counts, else 0.

  Returns:
    [..., n, d].
  """
  mean = jnp.sum(z * weight[:, None], axis=-2, keepdims=True) / jnp.maximum(jnp.sum(weight), 1.0)
  return (z - mean) * weight[:, None]


def between_views(z: Array, weight: Array) -> Array:
  """Mean squared distance of two views of one example, over examples and pairs of views.

  Formula: by the views' mean m, mean over pairs |z_a - z_b|^2 = 2/(v - 1) sum_a |z_a - m|^2.

  Args:
    z: [views, n, d], at least two views.
    weight: [n], 1 where an example counts, else 0.

  Returns:
    Scalar.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.representation.embedding import between_views
    >>> float(between_views(jnp.array([[[0.0]], [[3.0]]]), jnp.ones(1)))
    9.0
  """
  spread = jnp.sum(jnp.square(z - jnp.mean(z, axis=0)), axis=(0, 2)) * 2.0 / (len(z) - 1)
  return jnp.sum(spread * weight) / jnp.maximum(jnp.sum(weight), 1.0)
