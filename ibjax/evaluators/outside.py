"""Whether a trained model tells inputs of other data sets from its own test split."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators import novelty
from ibjax.evaluators.ranking import ranking


def outside(
  sources: tuple[str, ...] = ("kmnist",),
  scores: tuple[str, ...] = (),
  components: int = 0,
  neighbours: int = 50,
  normalise: bool = True,
  fit_examples: int = 10_000,
  examples: int = 0,
  split: str = "test",
) -> Callable[[Trained], dict[str, float]]:
  """Measures how well scores of novelty tell other data sets' inputs from the run's test split.

  Formula: AUROC, FPR95 and average precision (see `ibjax.evaluators.ranking`) of each score (see
  `ibjax.evaluators.novelty`) between the inputs of an outside source and the test inputs.

  Use it when a model should know what it was not trained for. No score is tuned: neither the
  outside sources nor the test split are seen before.

  Args:
    sources: names of data sets whose inputs have the shape of the run's, e.g. "kmnist", "mnist".
    scores: of "confidence", "entropy", "energy", "rate", "distance", "mahalanobis" and
      "neighbours"; none named means all that the model has.
    components: principal components of the code that mahalanobis and neighbours keep; 0 is all.
    neighbours: which nearest training code counts.
    normalise: whether codes have unit length where neighbours are searched.
    fit_examples: training examples that are compared with, at most; 0 is all.
    examples: as many inputs of each set, the first ones; 0 is all.
    split: of the outside sources.

  Returns:
    `assess(trained)` -> {"<source>_<score>_auroc_frac", "..._fpr95_frac", "..._aupr_frac"}; in the
    source's name all but letters and digits becomes "_".

  Raises:
    InputError: no source, an unknown score or one that the model does not have, inputs of another
      shape.

  Example:
    >>> from ibjax.evaluators.outside import outside
    >>> assess = outside(sources=("mnist", "kmnist"), scores=("confidence", "mahalanobis"))

  Source: Hendrycks and Gimpel 2017 (arXiv:1610.02136), section 3, whose measures these are.
  """
  if not sources:
    raise InputError("outside: sources=() names no data set, e.g. ('kmnist',).")
  for name in scores:
    checks.one_of("score", name, tuple(novelty.SCORES))
  checks.at_least("examples", examples, 0)
  checks.at_least("fit_examples", fit_examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    x = trained.data("", "test")["x"][: examples or None]
    outputs = trained.forward(x)
    names = novelty.choose(scores, outputs)
    reference = novelty.fitted(
      trained,
      names,
      components=components,
      neighbours=neighbours,
      normalise=normalise,
      examples=fit_examples,
    )
    own = novelty.scores(outputs, names, reference)
    found = {}
    for source in sources:
      other = trained.data(source, split)["x"][: examples or None]
      if np.shape(other)[1:] != np.shape(x)[1:]:
        raise InputError(
          f"outside: inputs of '{source}' have shape {list(np.shape(other)[1:])}, and the model "
          f"takes {list(np.shape(x)[1:])}. Name sources whose inputs have that shape."
        )
      theirs = novelty.scores(trained.forward(other), names, reference)
      label = re.sub(r"[^0-9A-Za-z]+", "_", source)
      for name in names:
        for measure, value in ranking(theirs[name], own[name]).items():
          found[f"{label}_{name}_{measure}"] = value
    return found

  return assess
