"""Measuring a coupling: the joint entropy it gives to pairs of random marginals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.types import Measurement
from ibjax.exact import entropy_coupling

METHODS: dict[str, Callable[..., np.ndarray]] = {
  "independent": entropy_coupling.independent,
  "max_seeking": entropy_coupling.max_seeking,
  "zero_seeking": entropy_coupling.zero_seeking,
}
LAWS = ("half_normal",)
PART = "simulations"


def couplings(config: Mapping[str, Any]) -> Measurement:
  """Couples `config.data.n` pairs of random marginals, and reports their joint entropies.

  Formula: both marginals are |N(0, 1)| draws of `config.coupling.size` letters, divided by their
  sum. The row holds the mean joint entropy (`entropy_nats`), its standard deviation over the pairs
  (`entropy_sd_nats`), the mean of what no coupling goes below (`lower_bound_nats`) and how far
  above it the mean is (`above_bound_nats`).

  The pairs are those of `config.seed`: every method sees the same.

  Args:
    config: {"seed", "data": {"tasks": "half_normal", "n"}, "coupling": {"method", "size"}}.

  Returns:
    The measurement, of one part.

  Raises:
    InputError: an unknown method or law, or a number below 1.
  """
  data, method = config["data"], config["coupling"]["method"]
  size = config["coupling"]["size"]
  checks.one_of("config.coupling.method", method, tuple(METHODS))
  checks.one_of("config.data.tasks", data["tasks"], LAWS)
  checks.at_least("config.data.n", data["n"], 1)
  checks.at_least("config.coupling.size", size, 1)

  def measure(part: str) -> dict[str, Any]:
    del part
    rng = np.random.default_rng(config["seed"])
    found = []
    for _ in range(data["n"]):
      p, q = (draw / draw.sum() for draw in np.abs(rng.normal(size=(2, size))))
      entropy = entropy_coupling.entropy(METHODS[method](p, q))
      found.append((entropy, entropy_coupling.lower_bound(p, q)))
    entropies, bounds = np.array(found).T
    return {
      "entropy_nats": float(entropies.mean()),
      "entropy_sd_nats": float(entropies.std(ddof=min(1, data["n"] - 1))),
      "lower_bound_nats": float(bounds.mean()),
      "above_bound_nats": float(np.mean(entropies - bounds)),
    }

  return Measurement(
    method=method,
    data={
      "name": data["tasks"],
      "fingerprint": hashlib.sha256(data["tasks"].encode()).hexdigest(),
      "n": data["n"],
    },
    parts=(PART,),
    measure=measure,
    summarize=lambda parts: dict(parts[PART]),
  )
