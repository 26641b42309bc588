"""Whether a dictionary has found the directions that its data were made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from ibjax.core import checks
from ibjax.core.types import Trained
from ibjax.data.sources import planted
from ibjax.evaluators.dictionaries import directions, encode, inner, unit


def feature_recovery(
  split: str = "test", recovered_above: float = 0.9, examples: int = 0
) -> Callable[[Trained], dict[str, float]]:
  """Compares a dictionary with the true one of a planted source.

  Formula: with cosines c_ij of true direction i and latent j, mmcs = mean_i max_j c_ij; mcc = mean
  of |c_ij| over the one-to-one matching that makes their sum largest (the Hungarian method), of
  min(features, latents) pairs; uniqueness = number of distinct directions argmax_i c_ij that the
  latents j are nearest to, divided by the number of latents. Taking z_j != 0 of its matched latent
  as a classifier of feature i being active gives precision, recall and their harmonic mean f1, each
  averaged over the matched features that are active at all.

  Use it on planted sources; with as many latents as features all of mmcs, mcc, uniqueness and f1
  are 1 for the true dictionary and an exact encoder.

  Args:
    split: on which activity is compared.
    recovered_above: a feature counts as recovered when its largest cosine is above this.
    examples: the first so many; 0 takes all.

  Returns:
    `assess(trained)` -> {"mmcs", "mcc", "uniqueness_frac", "recovered_frac", "precision", "recall",
    "f1", "true_l0"}.

  Raises:
    ConfigError: a source without a known dictionary.
    InputError: a bottleneck that is no dictionary.

  Example:
    >>> from ibjax.evaluators.feature_recovery import feature_recovery
    >>> assess = feature_recovery(recovered_above=0.95)

  Source: mean max cosine similarity, Sharkey et al. 2022 ("Taking features out of superposition
  with sparse autoencoders"); mean correlation coefficient with optimal matching, uniqueness and F1
  in the sense of SynthSAEBench, whose exact definitions were not at hand.
  """
  checks.between("recovered_above", recovered_above, 0.0, 1.0)
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    truth = planted.truth(planted.argument_of(inner(trained)))
    cosines = unit(truth.dictionary) @ unit(directions(trained)).T
    best = cosines.max(axis=1)
    features, latents = linear_sum_assignment(-np.abs(cosines))
    found = {
      "mmcs": float(best.mean()),
      "mcc": float(np.abs(cosines[features, latents]).mean()),
      "uniqueness_frac": len(np.unique(cosines.argmax(axis=0))) / cosines.shape[1],
      "recovered_frac": float(np.mean(best > recovered_above)),
      "true_l0": truth.l0,
    }
    data = trained.data(inner(trained), split)
    x, y = (np.asarray(data[name])[: examples or None] for name in ("x", "y"))
    active = (encode(trained, x).latents != 0).astype(np.float64).tocsc()[:, latents].toarray() > 0
    real = y[:, features] > 0
    there = real.any(axis=0)
    hits = np.sum(active & real, axis=0)[there]
    precision = hits / np.maximum(active.sum(axis=0)[there], 1)
    recall = hits / real.sum(axis=0)[there]
    both = precision + recall
    f1 = np.where(both > 0, 2.0 * precision * recall / np.where(both > 0, both, 1.0), 0.0)
    scores = {"precision": precision, "recall": recall, "f1": f1}
    return {**found, **{name: float(value.mean()) for name, value in scores.items()}}

  return assess
