"""Whether a child's latent has taken over its parent's direction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.data.sources import planted
from ibjax.evaluators.dictionaries import directions, encode, inner, unit


def absorption(
  split: str = "test", least: float = 0.5, examples: int = 0
) -> Callable[[Trained], dict[str, float]]:
  """Measures how often a parent's latent is silent because the child's carries its direction.

  Formula: latents are matched to true directions one to one (as in feature_recovery). Of the
  examples in which a parent p and a child of it are active, "missed" are those in which the
  parent's latent is not; "absorbed" are those of them in which the active latents still carry the
  parent's direction, sum_j z_j <W_dec,j, d_p> >= least a_p, mostly the child's own latent: its
  contribution is the largest. "alone_missed" is the share of missed ones among the examples in
  which a parent is active without a child: what is missed anyway. Averages over parents.

  Use it on planted:hierarchy. Sparsity pays for absorption: one active latent for a child and its
  parent in place of two.

  Args:
    split: of the examples.
    least: share of the parent's activation that must be carried for a miss to count as absorbed.
    examples: the first so many; 0 takes all.

  Returns:
    `assess(trained)` -> {"absorbed_frac", "missed_frac", "alone_missed_frac"}.

  Raises:
    ConfigError: a source without a known dictionary.
    InputError: a source without hierarchy, fewer latents than features, or no dictionary.

  Example:
    >>> from ibjax.evaluators.absorption import absorption
    >>> assess = absorption(least=0.4)

  Source: Chanin et al. 2024 (arXiv:2409.14507), who find the direction by probes of first letters;
  here it is known, and this measure is our own form of theirs.
  """
  checks.between("least", least, 0.0, 1.0)
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    truth = planted.truth(planted.argument_of(inner(trained)))
    if (truth.parent < 0).all():
      raise InputError("absorption: the features have no parents; use planted:hierarchy.")
    rows = directions(trained)
    if len(rows) < len(truth.parent):
      raise InputError(
        f"absorption: {len(rows)} latents cannot be matched to {len(truth.parent)} features."
      )
    _, match = linear_sum_assignment(-np.abs(unit(truth.dictionary) @ unit(rows).T))
    data = trained.data(inner(trained), split)
    x, y = (np.asarray(data[name])[: examples or None] for name in ("x", "y"))
    latents = encode(trained, x).latents
    shares = []
    for parent in np.unique(truth.parent[truth.parent >= 0]):
      children = np.flatnonzero(truth.parent == parent)
      child = y[:, children]
      silent = latents[:, [match[parent]]].toarray()[:, 0] == 0
      together = (y[:, parent] > 0) & (child > 0).any(axis=1)
      alone = (y[:, parent] > 0) & ~together
      along = rows @ truth.dictionary[parent].astype(np.float64)
      missed = np.flatnonzero(together & silent)
      given = latents[missed].multiply(along[None]).tocsr()
      carried = np.asarray(given.sum(axis=1)).ravel() >= least * y[missed, parent]
      own = match[children[child[missed].argmax(axis=1)]]
      largest = given.toarray().argmax(axis=1) == own if len(missed) else np.zeros(0, bool)
      shares.append(
        (
          np.sum(carried & largest) / max(together.sum(), 1),
          len(missed) / max(together.sum(), 1),
          np.sum(alone & silent) / max(alone.sum(), 1),
        )
      )
    names = ("absorbed_frac", "missed_frac", "alone_missed_frac")
    return dict(zip(names, map(float, np.mean(shares, axis=0))))

  return assess
