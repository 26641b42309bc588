"""Notices in the training metrics that a code has collapsed, while the run still runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Metric -> (whether a value is a collapse, what is said of it).
SIGNS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
  "code_perplexity": (
    lambda value: value < 1.2,
    "the code has collapsed: nearly all vectors have one symbol (perplexity {0:.3g}). Where the "
    "bottleneck has codebooks, start them from the data (start='kmeans'), revive dead codes "
    "(expire_below above 0) or weigh commitment less; else lower the learning rate",
  ),
  "dead_latents_frac": (
    lambda value: value > 0.95,
    "the dictionary is dying: {0:.1%} of its latents have not been active for long. Lower the "
    "penalty on activity or the learning rate, or revive dead latents",
  ),
}


def collapsed(values: Mapping[str, Any]) -> dict[str, str]:
  """Finds collapses in a line of training metrics.

  Args:
    values: name -> average; [members] of a population, of which the worst is told.

  Returns:
    Metric -> what is wrong, and what to do; {} where all is well.

  Example:
    >>> from ibjax.train.collapse import collapsed
    >>> collapsed({"code_perplexity": 60.0, "dead_latents_frac": 0.1})
    {}
  """
  found = {}
  for name, (is_bad, text) in SIGNS.items():
    value = np.atleast_1d(np.asarray(values.get(name, np.nan), np.float64))
    bad = value[is_bad(value)]
    if bad.size:
      members = f" ({bad.size} of {value.size} members)" if value.size > 1 else ""
      found[name] = text.format(bad[0]) + members
  return found
