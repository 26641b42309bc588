"""Mutual information of labels from their table, plug-in or corrected for few samples.

Source: Miller 1955, "Note on the bias of information estimates"; the corrections of
`discrete_entropy`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base import counts
from ibjax.estimators.base.contract import Estimator


def discrete_information(correction: str = "miller_madow") -> Estimator:
  """Estimates I(X;Y) of labels from the table of their counts.

  Formula: H(X) + H(Y) - H(X,Y), each by the chosen correction: "plug_in", "miller_madow"
  (plug-in less (m_xy - m_x - m_y + 1)/(2n), m counting labels and pairs seen), "chao_shen", or
  "nsb" over m_x, m_y and m_x m_y classes.

  Assumes independent rows. The plug-in value is never negative and too high by about
  (m_x - 1)(m_y - 1)/(2n); the default removes most of that where pairs are seen several times
  each, and is unbiased by order at independence if all pairs are seen. With about as many pairs as
  rows prefer "nsb"; no correction is safe there. The interval is the delta method's, with the
  variance (m_x - 1)(m_y - 1)/(2 n^2) that stays at independence, where it is wider than it need be.

  Args:
    correction: "plug_in", "miller_madow", "chao_shen" or "nsb".

  Returns:
    An `Estimator` of labels x [n], y [n], with local values.

  Raises:
    InputError: an unknown correction.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.discrete.discrete_information import discrete_information
    >>> bit = np.array([0, 1, 0, 1])
    >>> round(discrete_information("plug_in")(bit, 1 - bit).nats, 6)
    0.693147

  Source: Miller 1955, in Quastler (ed.), "Information theory in psychology"; chi-squared limit:
  2 n times the plug-in value is the G statistic.
  """
  checks.one_of("correction", correction, counts.CORRECTIONS)

  def value(x, y, z=None, key=None):
    n = len(x)
    _, x = np.unique(x, return_inverse=True)
    _, y = np.unique(y, return_inverse=True)
    m_x, m_y = x.max() + 1, y.max() + 1
    of_x, of_y = np.bincount(x), np.bincount(y)
    pairs, where, of_xy = np.unique(
      x.astype(np.int64) * m_y + y, return_inverse=True, return_counts=True
    )
    nats: Any = (
      counts.entropy(of_x, correction, m_x)
      + counts.entropy(of_y, correction, m_y)
      - counts.entropy(of_xy, correction, m_x * m_y)
    )
    ratio = np.log(of_xy * float(n) / (of_x[pairs // m_y] * of_y[pairs % m_y]))
    free = (m_x - 1) * (m_y - 1)
    mean = np.sum(of_xy * ratio) / n
    spread = max(np.sum(of_xy * (ratio - mean) ** 2) / n - free / n, 0.0)
    stderr: Any = math.sqrt(spread / n + free / (2 * n * n))
    return Value(nats, local=ratio[where] - mean + nats, stderr=stderr)

  return Estimator(
    name="discrete_information",
    value=value,
    x="labels",
    y="labels",
    interval="own",
    invariances=("rows", "swap"),
  )


def _bits():
  return dict(x=np.array([0, 0, 0, 0, 1, 1, 1, 1]), y=np.array([0, 0, 0, 1, 1, 1, 1, 0]))


PLUG_IN = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)

CASES = (
  Case(
    name="a binary symmetric channel, wrong in a quarter",
    hyper=dict(),
    inputs=_bits,
    expected=dict(nats=PLUG_IN - 1 / 16),
    source="closed form: four pairs, two and two labels",
  ),
  Case(
    name="the same, plug-in",
    hyper=dict(correction="plug_in"),
    inputs=_bits,
    expected=dict(nats=PLUG_IN),
    source="closed form: log 2 - H(1/4)",
  ),
)

TRUTHS = (
  Truth("bsc", 1000, 0.05),
  Truth("xor:p=0.1", 1000, 0.05),
  Truth("table", 1000, 0.06, dict(correction="nsb")),
  Truth("table", 1000, 0.06, dict(correction="chao_shen")),
  Truth("table_chain", 1000, 0.06, dict(correction="plug_in")),
)

COVERAGE = tuple(
  Truth(task, 500, 0.1)
  for task in (
    "bsc",
    "bsc:p=0.3",
    "bsc:p=0.4",
    "bsc:p=0.2,prior=0.3",
    "bec",
    "bec:p=0.5",
    "xor:p=0.1",
    "xor:p=0.3",
    "table",
    "table:seed=1",
    "table:kx=6,ky=5,seed=2",
    "table:kx=3,ky=3,concentration=5.0",
    "table_chain",
  )
)
