"""Gradient descent with momentum on a loss with a squared penalty on all parameters."""

from __future__ import annotations

from typing import Any

import optax

from ibjax.core import checks
from ibjax.core.types import Scalar


def penalized_sgd(
  learning_rate: Any = 1e-2, l2: Scalar = 0.0, momentum: Scalar = 0.9
) -> optax.GradientTransformation:
  """Momentum on the gradient of the loss plus an L2 penalty on every parameter, biases too.

  Formula: v <- momentum v + g + l2 w; w <- w - learning_rate v. For this rule weight decay and the
  penalty l2 ||w||^2 / 2 are the same thing.

  Args:
    learning_rate: a number, or a function of the number of updates done.
    l2: the penalty's weight; 0 is plain momentum.
    momentum: decay of the average of gradients.

  Returns:
    An optax transformation; the penalty is not part of the loss that is reported.

  Raises:
    InputError: a negative l2.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.penalized_sgd import penalized_sgd
    >>> sgd = penalized_sgd(0.1, l2=0.5)
    >>> params = {"bias": jnp.ones(1)}
    >>> updates, _ = sgd.update({"bias": jnp.ones(1)}, sgd.init(params), params)
    >>> round(float(updates["bias"][0]), 3)
    -0.15
  """
  checks.at_least("l2", l2, 0.0)
  return optax.chain(optax.add_decayed_weights(l2), optax.sgd(learning_rate, momentum=momentum))
