"""The error of an ordered code at each of its widths, and the width that validation data choose.

Source: Chen et al. 2021, "Boosting co-teaching with compression regularization for label noise"
(arXiv:2104.13766).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.bottlenecks.nested_dropout import kept_width
from ibjax.core import checks
from ibjax.core.errors import ConfigError
from ibjax.core.types import Trained

Array = np.ndarray


def nested_widths(
  split: str = "validation", price: float = 1e-5, shown: int = 16
) -> Callable[[Trained], dict[str, float]]:
  """Cuts the code of a trained model after its first channels and decodes what is left.

  Formula: e(m) = error of decode(z_1, ..., z_m, 0, ..., 0); the chosen width minimises
  e(m) + price m on `split`, over the widths of k = 1..concepts concepts, and its error on the test
  split is reported. Errors are fractions of wrong labels, or mean squared errors of targets.

  Use it for codes of `ibjax.bottlenecks.nested_dropout`: choosing on the test split, as one of the
  published experiments did, makes its error too small.

  Args:
    split: the data that choose, which must not be what is reported.
    price: what a channel costs, in units of the error, >= 0.
    shown: how many widths, evenly spaced, have their test error reported.

  Returns:
    `assess(trained) -> {"width", "error", "full_error", "error_at_<m>": ...}`: the chosen width,
    its error and the whole code's on the test split, and that of each width shown.

  Raises:
    InputError: a negative price, no width.
    ConfigError: the test split is to choose, or a bottleneck without an order.

  Example:
    >>> from ibjax.evaluators.nested_widths import nested_widths
    >>> assess = nested_widths(split="validation")

  Source: Chen et al. 2021 (arXiv:2104.13766), the width of the largest accuracy less 1e-5 a
  channel, as their published code has it.
  """
  checks.at_least("price", price, 0.0)
  checks.at_least("shown", shown, 1)
  if split == "test":
    raise ConfigError(
      "nested_widths chooses a width on one split and reports its error on the test split; chosen "
      "on the test split, that error is too small. Set config.data.validation and "
      "split='validation'."
    )

  def assess(trained: Trained) -> dict[str, float]:
    section = trained.config["bottleneck"]
    if not section["fn"].endswith(":nested_dropout"):
      raise ConfigError(
        f"nested_widths cuts codes whose channels have an order, and '{section['fn']}' gives none. "
        "Use config.bottleneck.fn='ibjax.bottlenecks.nested_dropout:nested_dropout'."
      )
    dim = section["dim"]
    levels = section.get("concepts", 0) or dim
    widths = [int(kept_width(k, dim, levels)) for k in range(1, levels + 1)]
    choosing, reported = (_errors(trained, name, widths) for name in (split, "test"))
    best = int(np.argmin(choosing + price * np.array(widths)))
    picks = np.unique(np.linspace(0, len(widths) - 1, min(shown, len(widths))).round().astype(int))
    return {
      "width": float(widths[best]),
      "error": float(reported[best]),
      "full_error": float(reported[-1]),
      **{f"error_at_{widths[i]}": float(reported[i]) for i in picks},
    }

  return assess


def _errors(trained: Trained, split: str, widths: list[int]) -> Array:
  assert trained.decode is not None
  data = trained.data("", split)
  code, y = trained.forward(data["x"])["code"], data["y"]
  found = []
  for width in widths:
    prediction = trained.decode(np.where(np.arange(code.shape[1]) < width, code, 0.0))
    wrong = prediction.argmax(axis=1) != y if trained.num_classes else (prediction - y) ** 2
    found.append(np.mean(wrong))
  return np.array(found)
