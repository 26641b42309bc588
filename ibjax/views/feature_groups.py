"""Views of inputs that consist of several groups of features: some groups, the others set to zero.

Source: Federici et al. 2020 (arXiv:2002.07017), for views that are different measurements of one
thing; leaving groups out at random makes any number of them of the same encoder's input.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Scalar

Array = jax.Array


def feature_groups(
  groups: tuple[int, ...] = (), keep: Scalar = 0.5
) -> Callable[[Array, Array], Array]:
  """Keeps each group of neighbouring values with a probability, and at least one of them.

  Formula: u_g uniform in [0, 1), anew for each input; group g stays where u_g < keep or u_g is the
  least, and is set to 0 elsewhere, the mean of a standardised feature. keep = 0 leaves one group,
  drawn at random; keep = 1 changes nothing.

  Args:
    groups: sizes of the groups, in the order of the flattened input; () makes every value one.
    keep: probability in [0, 1]; may be traced.

  Returns:
    `augment(x [n, ...], key) -> x`.

  Raises:
    InputError: a probability or size out of range, or groups that do not add up to the input.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.views.feature_groups import feature_groups
    >>> one = feature_groups(groups=(2, 3), keep=0.0)(jnp.ones((4, 5)), jax.random.key(0))
    >>> sorted(set(one.sum(axis=1).tolist()))
    [2.0, 3.0]

  Source: Federici et al. 2020 (arXiv:2002.07017), section 3.2, views of one encoder; the random
  choice of groups is ours.
  """
  checks.between("keep", keep, 0.0, 1.0)
  for size in groups:
    checks.at_least("a group's size", size, 1)

  def augment(x: Array, key: Array) -> Array:
    flat = x.reshape(len(x), -1)
    sizes = groups or (1,) * flat.shape[1]
    if sum(sizes) != flat.shape[1]:
      raise InputError(
        f"feature_groups: groups={tuple(sizes)} cover {sum(sizes)} values, and an input has "
        f"{flat.shape[1]}. Give sizes that add up to {flat.shape[1]}."
      )
    u = rng.uniform(rng.stream(key, "groups"), (len(x), len(sizes)))
    kept = (u < keep) | (u == jnp.min(u, axis=1, keepdims=True))
    columns = np.repeat(np.arange(len(sizes)), sizes)
    return jnp.where(kept[:, columns], flat, 0.0).reshape(x.shape)

  return augment


CASES = (
  Case(
    name="all groups stay",
    hyper=dict(groups=(1, 2), keep=1.0),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0, 3.0]])),
    expected=dict(x=[[1.0, -2.0, 3.0]]),
    source="limit",
  ),
  Case(
    name="a single group always stays",
    hyper=dict(groups=(3,), keep=0.0),
    inputs=lambda: dict(x=jnp.array([[1.0, -2.0, 3.0]])),
    expected=dict(x=[[1.0, -2.0, 3.0]]),
    source="definition",
  ),
)
