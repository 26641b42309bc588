"""Whether a classifier's scores find its own errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators import novelty
from ibjax.evaluators.ranking import ranking


def misclassification(
  scores: tuple[str, ...] = (),
  components: int = 0,
  neighbours: int = 50,
  normalise: bool = True,
  fit_examples: int = 10_000,
  split: str = "test",
) -> Callable[[Trained], dict[str, float]]:
  """Measures how well scores of novelty rank a classifier's errors above its right answers.

  Formula: AUROC, FPR95 and average precision (see `ibjax.evaluators.ranking`) of each score
  (see `ibjax.evaluators.novelty`) between wrongly and rightly classified examples.

  Use it when predictions may be handed back: a score that finds errors says which. It compares
  models of about equal error; fewer errors are harder ones. AUPR depends on the error rate.

  Args:
    scores: as in `ibjax.evaluators.outside`; none named means all that the model has.
    components: principal components of the code that mahalanobis and neighbours keep; 0 is all.
    neighbours: which nearest training code counts.
    normalise: whether codes have unit length where neighbours are searched.
    fit_examples: training examples that are compared with, at most; 0 is all.
    split: the split that is classified.

  Returns:
    `assess(trained)` -> {"<score>_auroc_frac", "<score>_fpr95_frac", "<score>_aupr_frac"}; {} for
    a model that is right of all or wrong of all, which has nothing to rank.

  Raises:
    InputError: an unknown score or one that the model does not have, or a model of targets.

  Example:
    >>> from ibjax.evaluators.misclassification import misclassification
    >>> assess = misclassification(scores=("confidence", "rate"))

  Source: Hendrycks and Gimpel 2017 (arXiv:1610.02136), section 3.1.
  """
  for name in scores:
    checks.one_of("score", name, tuple(novelty.SCORES))
  checks.at_least("fit_examples", fit_examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    if not trained.num_classes:
      raise InputError(
        "misclassification needs classes, and this model predicts real-valued targets. Remove it "
        "from config.assess."
      )
    data = trained.data("", split)
    outputs = trained.forward(data["x"])
    names = novelty.choose(scores, outputs)
    wrong = np.argmax(outputs["prediction"], axis=-1) != data["y"]
    if wrong.all() or not wrong.any():
      return {}
    reference = novelty.fitted(
      trained,
      names,
      components=components,
      neighbours=neighbours,
      normalise=normalise,
      examples=fit_examples,
    )
    return {
      f"{name}_{measure}": value
      for name, score in novelty.scores(outputs, names, reference).items()
      for measure, value in ranking(score[wrong], score[~wrong]).items()
    }

  return assess
