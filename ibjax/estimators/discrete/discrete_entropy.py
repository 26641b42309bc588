"""Entropy of labels, plug-in or corrected for few samples.

Source: Miller 1955, "Note on the bias of information estimates"; Chao and Shen 2003,
"Nonparametric estimation of Shannon's index of diversity when there are unseen species in sample";
Nemenman, Shafee, Bialek 2002, "Entropy and inference, revisited" (arXiv:physics/0108025).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base import counts
from ibjax.estimators.base.contract import Estimator


def discrete_entropy(correction: str = "miller_madow", classes: int | None = None) -> Estimator:
  """Estimates H(X) of labels from their counts.

  Formula: with p = counts / n and m labels seen, "plug_in": -sum p log p; "miller_madow": plus
  (m - 1)/(2n); "chao_shen": Horvitz-Thompson sum with p lowered by the share of singletons, for
  labels not seen; "nsb": posterior mean under a mixture of Dirichlet priors over `classes` labels.

  Assumes independent rows. The plug-in value is too low by about (K - 1)/(2n); Miller-Madow
  removes that where nearly all labels are seen. With fewer samples than labels use "chao_shen"
  (labels of unknown number) or "nsb" (known number). The interval is the delta method's, with the
  variance (m - 1)/(2 n^2) that stays when all labels are equally likely; for "nsb" the posterior's
  standard deviation. It covers too often when all labels are equally likely, too rarely (0.87)
  when they nearly are, and too rarely when many labels are not seen.

  Args:
    correction: "plug_in", "miller_madow", "chao_shen" or "nsb".
    classes: number of labels there are, seen or not, for "nsb"; None takes those seen.

  Returns:
    An `Estimator` of labels x [n].

  Raises:
    InputError: an unknown correction, fewer classes than labels seen.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.discrete.discrete_entropy import discrete_entropy
    >>> round(discrete_entropy("plug_in")(np.array([0, 0, 1, 1])).nats, 6)
    0.693147

  Source: Miller 1955; Chao and Shen 2003 (doi:10.1023/A:1026096204727), eq. 8; Nemenman et al. 2002
  (arXiv:physics/0108025), eqs. 8 to 14.
  """
  checks.one_of("correction", correction, counts.CORRECTIONS)
  if classes is not None:
    checks.at_least("classes", classes, 1)

  def value(x, y=None, z=None, key=None):
    seen = np.bincount(x)
    seen = seen[seen > 0]
    known = len(seen) if classes is None else classes
    if known < len(seen):
      raise InputError(
        f"discrete_entropy: {len(seen)} labels occur, and classes is {known}; it must count those "
        "not seen too."
      )
    n = len(x)
    log_p = np.log(seen / n)
    nats: Any
    stderr: Any
    if correction == "nsb":
      nats, stderr = counts.nsb(seen, known)
    else:
      nats = counts.entropy(seen, correction, known)
      spread = np.sum(seen / n * log_p**2) - np.sum(seen / n * log_p) ** 2
      stderr = math.sqrt(spread / n + (len(seen) - 1) / (2 * n * n))
    return Value(nats, stderr=stderr)

  return Estimator(
    name="discrete_entropy",
    value=value,
    x="labels",
    y="none",
    quantity="entropy",
    interval="own",
    invariances=("rows",),
  )


def _labels(*seen: int):
  return lambda: dict(x=np.repeat(np.arange(len(seen)), seen))


CASES = (
  Case(
    name="Miller-Madow of a fair bit",
    hyper=dict(),
    inputs=_labels(2, 2),
    expected=dict(nats=math.log(2) + 1 / 8),
    source="closed form",
  ),
  Case(
    name="plug-in of three labels",
    hyper=dict(correction="plug_in"),
    inputs=_labels(2, 1, 1),
    expected=dict(nats=1.5 * math.log(2)),
    source="closed form",
  ),
  Case(
    name="Chao-Shen with one singleton in four",
    hyper=dict(correction="chao_shen"),
    inputs=_labels(3, 1),
    expected=dict(
      nats=-(9 / 16) * math.log(9 / 16) / (1 - (7 / 16) ** 4)
      - (3 / 16) * math.log(3 / 16) / (1 - (13 / 16) ** 4)
    ),
    source="by hand: the coverage is 3/4",
  ),
  Case(
    name="NSB of nine classes",
    hyper=dict(correction="nsb", classes=9),
    inputs=_labels(4, 2, 3, 2, 4, 2),
    expected=dict(nats=1.9406467285, stderr=0.15602422514),
    source="an independent implementation with 20 digits; the sd by quadrature in (w/(1 - w))^2",
    rtol=1e-8,
  ),
)

TRUTHS = (
  Truth("table", 1000, 0.05, key="x"),
  Truth("table:kx=30", 300, 0.15, dict(correction="chao_shen"), key="x"),
  Truth("table:kx=30", 300, 0.15, dict(correction="nsb", classes=30), key="x"),
  Truth("bec", 1000, 0.05, dict(correction="plug_in"), key="y"),
)

COVERAGE = tuple(
  Truth(task, 500, 0.1, key=key)
  for task, key in (
    ("table", "x"),
    ("table:seed=5", "x"),
    ("table:kx=10,ky=3", "x"),
    ("table:seed=1", "x"),
    ("table:seed=2", "y"),
    ("bsc:prior=0.3", "x"),
    ("bsc:prior=0.2", "x"),
    ("bec", "y"),
    ("bec:p=0.3,prior=0.3", "y"),
    ("table_chain", "x"),
    ("table:seed=4", "x"),
    ("table:kx=20,seed=3", "x"),
  )
)
