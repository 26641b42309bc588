"""Whether a dictionary tells inputs of other kinds from those it was trained on."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators import novelty
from ibjax.evaluators.dictionaries import Encoded, encode
from ibjax.evaluators.ranking import ranking

SCORES = ("residual", "l0", "rarity", "neighbours")


def outside_latents(
  sources: tuple[str, ...] = ("kmnist",),
  scores: tuple[str, ...] = SCORES,
  neighbours: int = 10,
  fit_examples: int = 5000,
  examples: int = 0,
  split: str = "test",
) -> Callable[[Trained], dict[str, float]]:
  """Measures how well a dictionary's latents rank other sources' inputs above the test split's.

  Formula: residual |x - x'|^2 / |x|^2; l0 the number of active latents; rarity mean over the
  active latents of -log(density), densities of the training split (with one example more in each);
  neighbours the distance, of latents scaled to length one, to the k-th nearest training example
  (see `ibjax.evaluators.novelty`). AUROC, FPR95 and average precision of each.

  Use it on features of images with some classes left out of training (`classes:...` sources).

  Args:
    sources: whose inputs are outside; of the width of the dictionary.
    scores: of "residual", "l0", "rarity", "neighbours".
    neighbours: which nearest training example counts.
    fit_examples: training examples compared with, the first so many; 0 is all.
    examples: of each set, the first so many; 0 is all.
    split: of the outside sources.

  Returns:
    `assess(trained)` -> {"<source>_<score>_auroc_frac", "..._fpr95_frac", "..._aupr_frac"}; in the
    source's name all but letters and digits becomes "_".

  Raises:
    InputError: no source, an unknown score, inputs of another width, or no dictionary.

  Example:
    >>> from ibjax.evaluators.outside_latents import outside_latents
    >>> assess = outside_latents(sources=("classes:8-9:mnist",), scores=("residual",))

  Source: arXiv:2508.11277 names the task (by its abstract); the scores are our own, neighbours of
  Sun et al. 2022 (arXiv:2204.06507).
  """
  if not sources:
    raise InputError("outside_latents: sources=() names no data set, e.g. ('classes:8-9:mnist',).")
  for name in scores:
    checks.one_of("score", name, SCORES)
  checks.at_least("neighbours", neighbours, 1)
  checks.at_least("examples", examples, 0)
  checks.at_least("fit_examples", fit_examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    def rows(source: str, part: str, most: int) -> np.ndarray:
      x = np.asarray(trained.data(source, part)["x"])[: most or None]
      return x.reshape(len(x), -1)

    known = encode(trained, rows("", "train", fit_examples)).latents
    density = (np.diff(known.tocsc().indptr) + 1.0) / (known.shape[0] + 1.0)
    reference = None
    if "neighbours" in scores:
      labels = np.zeros(known.shape[0])
      reference = novelty.fit(known.toarray(), labels, neighbours=neighbours)

    def judged(x: np.ndarray) -> dict[str, np.ndarray]:
      found = encode(trained, x)
      values = {name: _score(name, x, found, density) for name in scores if name != "neighbours"}
      if reference is not None:
        outputs = {"code": found.latents.toarray()}
        values |= novelty.scores(outputs, ("neighbours",), reference)
      return values

    own, results = judged(rows("", "test", examples)), {}
    for source in sources:
      label = re.sub(r"[^0-9A-Za-z]+", "_", source)
      for name, values in judged(rows(source, split, examples)).items():
        for measure, value in ranking(values, own[name]).items():
          results[f"{label}_{name}_{measure}"] = value
    return results

  return assess


def _score(name: str, x: np.ndarray, found: Encoded, density: np.ndarray) -> np.ndarray:
  active = np.diff(found.latents.indptr).astype(np.float64)
  if name == "l0":
    return active
  if name == "rarity":
    return (found.latents != 0) @ -np.log(density) / np.maximum(active, 1.0)
  error = np.sum(np.square(x - found.value, dtype=np.float64), axis=1)
  return error / np.maximum(np.sum(np.square(x, dtype=np.float64), axis=1), 1e-30)
