"""What a trained model predicts of inputs moved against it, each coordinate by a little.

Source: Goodfellow, Shlens and Szegedy 2015 (arXiv:1412.6572); Madry et al. 2018, "Towards deep
learning models resistant to adversarial attacks" (arXiv:1706.06083).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators.target_errors import error_rate, root_mean_square

Array = jax.Array

METHODS = ("fgsm", "pgd")
NEEDS = ("gradient",)  # of the program; `ibjax.train.setup` looks before anything is trained


def projected_gradient(
  gradient: Callable[[Any], Any],
  x: Any,
  epsilon: float,
  step: float,
  steps: int,
  value_range: tuple[float, float] | None = None,
  start: Any = None,
) -> Array:
  """Walks up the loss by signed steps within a box around every input.

  Formula: x_0 = start; x_{t+1} = P(x_t + step sign(gradient(x_t))), P the nearest point that is
  within `epsilon` of x in every coordinate, and within the range of valid inputs. One step of
  epsilon from x is the fast gradient sign method.

  Args:
    gradient: `gradient(x [n, ...]) -> [n, ...]`, of each example's own loss by its own input.
    x: [n, ...] floats.
    epsilon: half the width of the box, in units of x, >= 0.
    step: the length of a step in every coordinate, in units of x, >= 0.
    steps: how many, >= 1.
    value_range: least and largest value of an input; None for inputs without bounds.
    start: [n, ...] where to begin, brought into the box; None is x itself.

  Returns:
    [n, ...] attacked inputs.

  Raises:
    InputError: a negative size, no step.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.evaluators.attacks import projected_gradient
    >>> slope = lambda x: 2 * (x - 1.0)  # of (x - 1)^2, whose loss is 0 at 1
    >>> projected_gradient(slope, jnp.array([[0.5, 1.5]]), 0.25, 0.125, 3).tolist()
    [[0.25, 1.75]]

  Source: Madry et al. 2018 (arXiv:1706.06083), section 2.1, its equation of PGD.
  """
  checks.at_least("epsilon", epsilon, 0.0)
  checks.at_least("step", step, 0.0)
  checks.at_least("steps", steps, 1)
  x = jnp.asarray(x, jnp.float32)
  low, high = x - epsilon, x + epsilon
  if value_range is not None:
    low, high = (jnp.clip(bound, *value_range) for bound in (low, high))
  found = x if start is None else jnp.clip(jnp.asarray(start, jnp.float32), low, high)
  for _ in range(steps):
    found = jnp.clip(found + step * jnp.sign(jnp.asarray(gradient(found))), low, high)
  return found


def attacks(
  methods: tuple[str, ...] = METHODS,
  epsilons: tuple[float, ...] = (0.1, 0.2, 0.3),
  step: float = 0.05,
  steps: int = 5,
  random_start: bool = False,
  split: str = "test",
  examples: int = 0,
) -> Callable[[Trained], dict[str, float]]:
  """Measures the error under attack, of labels or of real-valued targets.

  Formula: x' = argmax of the loss within |x' - x|_inf <= epsilon, approached by one step of
  epsilon ("fgsm") or by `steps` steps of `step`, each projected back ("pgd"); the error at x'.
  The loss is -log p(y|x) of labels and the squared error of targets, both of the prediction
  averaged over the codes that evaluation draws, and the codes' noise is the same at every step.

  Use it when errors under small worst-case changes of the input are to be compared; what an attack
  does not find is no proof of robustness. epsilon and step are in units of inputs scaled to
  [0, 1] where the source stores uint8, and of the stored floats else (standardised tables: of a
  standard deviation); floats have no bounds that clip them. An attack whose steps do not add up
  to epsilon does not reach the edge of the box.

  Args:
    methods: of "fgsm" and "pgd".
    epsilons: sizes of the box.
    step: length of a step of "pgd".
    steps: their number.
    random_start: "pgd" begins at a point drawn evenly from the box, by the run's seed, in place
      of the input itself.
    split: the split that is attacked.
    examples: as many of it, the first ones; 0 is all.

  Returns:
    `assess(trained)` -> {"clean_err_frac", "fgsm_0.1_err_frac", "pgd_0.1_err_frac", ...} of labels;
    {"clean_rmse", "fgsm_0.1_rmse", ...} of targets, in the target's own unit.

  Raises:
    InputError: an unknown method, no or a negative size, no step.

  Example:
    >>> from ibjax.evaluators.attacks import attacks
    >>> assess = attacks(methods=("pgd",), epsilons=(0.3,))

  Source: Goodfellow et al. 2015 (arXiv:1412.6572), section 4; Madry et al. 2018
  (arXiv:1706.06083), section 2.1; sizes, steps and regression as in Yu et al. 2024
  (arXiv:2404.17951) and its code (epsilon 0.3, 5 steps of 0.05, on the squared error).
  """
  for method in methods:
    checks.one_of("method", method, METHODS)
  for epsilon in epsilons:
    checks.at_least("epsilon", epsilon, 0.0)
  checks.at_least("step", step, 0.0)
  checks.at_least("steps", steps, 1)
  checks.at_least("examples", examples, 0)
  if not methods or not epsilons:
    raise InputError(f"methods={methods} and epsilons={epsilons} must name at least one attack.")

  def assess(trained: Trained) -> dict[str, float]:
    data = trained.data("", split)
    x, y = (data[name][: examples or None] for name in ("x", "y"))
    low, high = trained.value_range or (0.0, 1.0)
    unit = high - low
    name, error = ("err_frac", error_rate) if trained.num_classes else ("rmse", root_mean_square)

    def gradient(x):
      return trained.gradient(np.asarray(x), y)

    found = {f"clean_{name}": error(trained, trained.forward(x)["prediction"], y)}
    for epsilon in epsilons:
      for method in methods:
        start, length, count = None, unit * epsilon, 1
        if method == "pgd":
          length, count = unit * step, steps
          if random_start:
            rng = np.random.default_rng([trained.seed, 0])
            start = x + rng.uniform(-unit * epsilon, unit * epsilon, x.shape)
        attacked = projected_gradient(
          gradient, x, unit * epsilon, length, count, trained.value_range, start
        )
        prediction = trained.forward(np.asarray(attacked))["prediction"]
        found[f"{method}_{epsilon:g}_{name}"] = error(trained, prediction, y)
    return found

  return assess
