"""How well one number per example ranks one group above another: AUROC, FPR95, average precision.

Source: Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating
characteristic (ROC) curve".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from ibjax.core.errors import InputError


def ranking(outside: Any, inside: Any) -> dict[str, float]:
  """Measures how far the scores of one group lie above those of another.

  Formula: with s' of the group that should score higher and s of the other,
  auroc = P(s' > s) + P(s' = s) / 2 over all pairs; fpr95 = P(s' <= t), the share of the first
  group taken for the second by the least threshold t that keeps 95% of the second,
  P(s <= t) >= 0.95; aupr = sum_i (R_i - R_{i-1}) P_i over the distinct scores from above, R_i and
  P_i recall and precision of the first group at score i (average precision).

  Args:
    outside: [m] scores of the group that should score higher.
    inside: [n] scores of the other.

  Returns:
    {"auroc_frac", "fpr95_frac", "aupr_frac"}, in [0, 1]; chance is 1/2, 0.95 and m / (m + n).

  Raises:
    InputError: an empty group, or scores that are not numbers; infinite ones are ranked.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.ranking import ranking
    >>> ranking(np.array([1.0, 3.0]), np.array([0.0, 1.0]))["auroc_frac"]
    0.875

  Source: Hanley and McNeil 1982 (AUROC and its statistic); Hendrycks and Gimpel 2017
  (arXiv:1610.02136) for AUROC and AUPR of outside inputs; Liang et al. 2018 (arXiv:1706.02690) for
  the false positive rate at 95%.
  """
  high, low = _checked("outside", outside), _checked("inside", inside)
  m, n = len(high), len(low)
  ranks = rankdata(np.concatenate([high, low]))
  auroc = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
  threshold = np.sort(low)[int(np.ceil(0.95 * n)) - 1]
  values = np.unique(np.concatenate([high, low]))
  # Counts at or above each distinct score, from the highest on.
  caught = m - np.searchsorted(np.sort(high), values)[::-1]
  false = n - np.searchsorted(np.sort(low), values)[::-1]
  gained = np.diff(caught, prepend=0) / m
  return {
    "auroc_frac": float(auroc),
    "fpr95_frac": float(np.mean(high <= threshold)),
    "aupr_frac": float(np.sum(gained * caught / (caught + false))),
  }


def _checked(name: str, scores: Any) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  if scores.ndim != 1 or len(scores) == 0:
    raise InputError(f"{name} has shape {list(scores.shape)}, expected [n] scores, n > 0.")
  if np.isnan(scores).any():
    row = int(np.flatnonzero(np.isnan(scores))[0])
    raise InputError(f"{name}: the score in row {row} is NaN; it has no rank.")
  return scores
