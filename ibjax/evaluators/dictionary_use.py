"""How a sparse dictionary is used: active latents, dead and dense ones, what it explains."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.types import Trained
from ibjax.evaluators.dictionaries import encode

# Edges of the histogram of densities; a latent that is never active is counted as dead instead.
EDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def dictionary_use(
  split: str = "test", dense_above: float = 0.1, examples: int = 0
) -> Callable[[Trained], dict[str, float]]:
  """Measures how many latents are active, dead and dense, and how much they explain.

  Formula: with latents z and reconstruction x', l0 = mean number of z_j != 0 per example; density_j
  = share of examples with z_j != 0; fvu = sum |x - x'|^2 / sum |x - mean x|^2, the fraction of
  variance unexplained; norm_ratio = mean |x'| / |x| (below 1: shrinkage).

  Use it for every dictionary, over a split large enough for rare latents: one that is active in
  none of its n examples counts as dead, whatever its density below 1/n.

  Args:
    split: which split.
    dense_above: latents active in a larger share of the examples count as dense.
    examples: the first so many; 0 takes all.

  Returns:
    `assess(trained)` -> {"l0", "fvu", "explained_variance_frac", "mse", "norm_ratio", "dead",
    "dead_frac", "dense", "dense_frac", "density_to_1e-4_frac", ... "density_to_1_frac"}: the last
    are the shares of latents whose density is above the edge before and at most the one named.

  Raises:
    InputError: a bottleneck that is no dictionary.

  Example:
    >>> from ibjax.evaluators.dictionary_use import dictionary_use
    >>> assess = dictionary_use(dense_above=0.05)

  Source: Gao et al. 2024 (arXiv:2406.04093), sections 3 and 5, on normalised error and dead
  latents; the histogram of densities as Bricken et al. 2023 show it (as recalled).
  """
  checks.between("dense_above", dense_above, 0.0, 1.0)
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    x = np.asarray(trained.data("", split)["x"])[: examples or None]
    x = x.reshape(len(x), -1)
    latents, value = encode(trained, x)
    density = np.bincount(latents.indices, minlength=latents.shape[1]) / len(x)
    error = np.sum(np.square(x - value, dtype=np.float64))
    spread = np.sum(np.square(x - x.mean(axis=0), dtype=np.float64))
    lengths = np.linalg.norm(x, axis=1)
    fvu = float(error / spread) if spread else float("nan")
    found = {
      "l0": latents.nnz / len(x),
      "fvu": fvu,
      "explained_variance_frac": 1.0 - fvu,
      "mse": float(error / x.size),
      "norm_ratio": float(
        np.mean(np.linalg.norm(value, axis=1)[lengths > 0] / lengths[lengths > 0])
      ),
      "dead": float(np.sum(density == 0)),
      "dead_frac": float(np.mean(density == 0)),
      "dense": float(np.sum(density > dense_above)),
      "dense_frac": float(np.mean(density > dense_above)),
    }
    for low, high in itertools.pairwise(EDGES):
      share = np.mean((density > low) & (density <= high))
      found[f"density_to_{_short(high)}_frac"] = float(share)
    return found

  return assess


def _short(edge: float) -> str:
  return f"1e{int(np.log10(edge))}" if edge < 1 else "1"
