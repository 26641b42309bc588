"""Robustness to the fast gradient sign method: one step up the loss, in the infinity norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.core.types import Scalar

Array = jax.Array


def fast_gradient_sign(
  loss: Callable[[Array], Array], x: Array, step: Scalar, low: Scalar, high: Scalar
) -> Array:
  """Moves every input by one signed step that raises its own loss, and keeps it a valid input.

  Formula: x' = clip(x + step sign(grad_x loss(x)), low, high).

  Args:
    loss: `loss(x [n, ...]) -> [n]` nats, where value i depends on example i alone.
    x: [n, ...] float inputs in [low, high].
    step: how far each coordinate moves, in units of x; may be traced.
    low: the least value an input can have.
    high: the largest value an input can have.

  Returns:
    [n, ...] attacked inputs, at most `step` away from x in the infinity norm.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.robustness import fast_gradient_sign
    >>> x = jnp.array([[0.5, 0.5], [0.95, 0.5]])
    >>> attacked = fast_gradient_sign(lambda x: x[:, 0] - x[:, 1], x, 0.1, 0.0, 1.0)
    >>> [[round(value, 3) for value in row] for row in attacked.tolist()]
    [[0.6, 0.4], [1.0, 0.4]]

  Source: Goodfellow, Shlens and Szegedy 2015 (arXiv:1412.6572), section 4, the equation of eta.
  """
  gradient = jax.grad(lambda x: jnp.sum(loss(x)))(x)
  return jnp.clip(x + step * jnp.sign(gradient), low, high)


def fgsm_name(epsilon: float) -> str:
  """The name of an attack in records, e.g. "fgsm_0.1".

  Args:
    epsilon: size of the step, in units of inputs scaled to [0, 1].

  Returns:
    The name, without a unit.
  """
  return f"fgsm_{epsilon:g}"


def check_epsilons(epsilons: Sequence[Any], x_dtype: Any) -> tuple[float, ...]:
  """Checks the sizes of the attacks that a config asks for.

  Args:
    epsilons: `config.eval.fgsm`, in units of inputs scaled to [0, 1].
    x_dtype: dtype of the stored inputs.

  Returns:
    The same numbers as floats.

  Raises:
    ConfigError: not a sequence of numbers, one is negative or not finite, two have one name, or
      the inputs are floats, whose scale is not known.
  """
  if isinstance(epsilons, str) or not isinstance(epsilons, Sequence):
    raise ConfigError(
      f"config.eval.fgsm={epsilons!r} is not a tuple; write one, e.g. --config.eval.fgsm='(0.1,)'."
    )
  for epsilon in epsilons:
    number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
    if not number or not math.isfinite(epsilon) or epsilon < 0:
      raise ConfigError(
        f"config.eval.fgsm holds {epsilon!r}; expected finite numbers of at least 0, the step in "
        "units of inputs scaled to [0, 1], e.g. (0.1, 0.3)."
      )
  if len({fgsm_name(epsilon) for epsilon in epsilons}) < len(epsilons):
    raise ConfigError(f"config.eval.fgsm={tuple(epsilons)} names one step twice.")
  if len(epsilons) and np.dtype(x_dtype) != np.uint8:
    raise ConfigError(
      f"config.eval.fgsm={tuple(epsilons)} needs uint8 inputs, whose range 0..255 gives the step "
      f"its unit; this data set has {np.dtype(x_dtype)}. Leave it empty: --config.eval.fgsm='()'."
    )
  return tuple(float(epsilon) for epsilon in epsilons)
