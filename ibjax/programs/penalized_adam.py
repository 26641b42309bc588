"""Adam on a loss with a squared penalty on weights; the optimiser of plane experiments with L2."""

from __future__ import annotations

from typing import Any

import jax
import optax

from ibjax.core import checks
from ibjax.core.types import Scalar


def penalized_adam(
  learning_rate: Any = 1e-3,
  l2: Scalar = 0.0,
  spared: tuple[str, ...] = ("decoder", "objective"),
  b1: Scalar = 0.9,
  b2: Scalar = 0.999,
  eps: Scalar = 1e-8,
) -> optax.GradientTransformation:
  """Adam on the loss plus an L2 penalty, whose gradient goes through Adam's scaling.

  Formula: the gradient of loss + l2 sum_W ||W||^2 / 2, that is g + l2 W, then Adam. (AdamW
  instead shrinks the weights beside Adam's step.)

  Args:
    learning_rate: a number, or a function of the number of updates done.
    l2: the penalty's weight; 0 is plain Adam.
    spared: components without a penalty; a decoder of one layer is the network's output layer.
      Biases are never penalised.
    b1: decay of the average of gradients.
    b2: decay of the average of their squares.
    eps: added to the root of the latter.

  Returns:
    An optax transformation; the penalty is not part of the loss that is reported.

  Raises:
    InputError: a negative l2.

  Example:
    >>> import jax.numpy as jnp, optax
    >>> from ibjax.programs.penalized_adam import penalized_adam
    >>> params = {"encoder": {"kernel": jnp.ones((2, 2))}}
    >>> adam = penalized_adam(0.1, l2=1.0)
    >>> zeros = {"encoder": {"kernel": jnp.zeros((2, 2))}}
    >>> updates, _ = adam.update(zeros, adam.init(params), params)
    >>> round(float(updates["encoder"]["kernel"][0, 0]), 3)  # towards zero, by the penalty alone
    -0.1
  """
  checks.at_least("l2", l2, 0.0)

  def penalized(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
      lambda path, leaf: leaf.ndim >= 2 and path[0].key not in spared, params
    )

  return optax.chain(
    optax.add_decayed_weights(l2, penalized), optax.adam(learning_rate, b1=b1, b2=b2, eps=eps)
  )
