"""Mutual information of labels and real variables by nearest neighbours.

Source: Ross 2014, "Mutual information between discrete and continuous data sets" (PLoS ONE 9(2),
e87357).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma as psi

from ibjax.core import checks
from ibjax.core.estimate import Note, Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.marginals import TRANSFORMS, rescale
from ibjax.estimators.base.neighbours import BLOCK_SIZE, check_search, count_within, nearest


def ross(
  k: int = 3, transform: str = "standardize", search: str = "auto", block_size: int = BLOCK_SIZE
) -> Estimator:
  """Estimates I(X;Y) of real x and labels y from neighbours within a class.

  Formula: psi(n) - mean_i psi(n_y,i) + mean_i[psi(k_i) - psi(m_i)], where n_y,i is the size of the
  class of row i, r_i the distance in the max norm to its k-th neighbour within the class, and k_i
  and m_i count the other rows within r_i, in the class and in all. Without ties k_i = k. Counting
  k_i makes ties harmless: a constant x has I = 0 to 1/n, however rare a class. In a class of k
  rows or fewer all its rows are neighbours; a class of one row is left out, with a warning.

  Assumes independent rows, and a density of x within each class. Use it for a few columns and
  classes of at least some tens of rows. Biased towards zero in many dimensions and where classes
  are well separated in units of neighbour distances; at most H(Y) up to noise.

  Args:
    k: number of neighbours.
    transform: "standardize", "ranks" or "none"; of each column of x.
    search: "tree", "tiles" or "auto".
    block_size: root of the number of pairs held at once by tiles.

  Returns:
    An `Estimator` of x [n, d] and labels y [n]; interval by subsampling.

  Raises:
    InputError: an option out of range.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.neighbours.ross import ross
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, size=1000)
    >>> bool(abs(ross()(10.0 * y + rng.normal(size=1000), y).nats - np.log(2)) < 0.01)
    True

  Source: Ross 2014 (doi:10.1371/journal.pone.0087357), eq. 2.
  """
  check_search(search, k, block_size)
  checks.one_of("transform", transform, TRANSFORMS)
  how: dict[str, Any] = dict(search=search, block_size=block_size)

  def value(x, y, z=None, key=None):
    x = rescale(x, transform)
    sizes = np.bincount(y)[y]
    kept = sizes > 1
    notes: tuple[Note, ...] = ()
    if not kept.all():
      notes = (
        Note(
          "lone_rows",
          f"{np.sum(~kept)} classes have one row, which has no neighbour of its class; they are "
          "left out. Merge rare classes.",
        ),
      )
      x, y, sizes = x[kept], y[kept], sizes[kept]
    if not len(x):
      return Value(x.sum() * np.nan, notes=notes)
    reach, near = np.zeros(len(x)), np.zeros(len(x))
    for label in np.unique(y):
      own = y == label
      few = min(k, np.sum(own) - 1)
      reach[own] = nearest(x[own], few, **how)[0][:, -1]
      near[own] = count_within(x[own], reach[own], strict=False, **how)
    within = count_within(x, reach, strict=False, **how)
    local = psi(len(x)) - psi(sizes) + psi(near) - psi(within)
    return Value(local.mean(), local=local, notes=notes)

  return Estimator(
    name="ross",
    value=value,
    y="labels",
    interval="subsampling",
    invariances=("rows", "translation")
    + (("scale",) if transform != "none" else ())
    + (("monotone",) if transform == "ranks" else ()),
    min_n=k + 1,
  )


CASES = (
  Case(
    name="two classes far apart",
    hyper=dict(),
    inputs=lambda: dict(x=np.array([0.0, 1.0, 3.0, 50.0, 51.0, 53.0]), y=np.repeat([0, 1], 3)),
    expected=dict(nats=psi(6) - psi(3)),
    source="by hand: all neighbours are of the own class, so k_i and m_i cancel",
  ),
  Case(
    name="the same by tiles",
    hyper=dict(k=1, search="tiles"),
    inputs=lambda: dict(x=np.array([0.0, 1.0, 3.0, 50.0, 51.0, 53.0]), y=np.repeat([0, 1], 3)),
    expected=dict(nats=psi(6) - psi(3)),
    source="by hand, the same",
  ),
  Case(
    name="a constant feature and a rare class",
    hyper=dict(k=3),
    inputs=lambda: dict(x=np.ones(100), y=(np.arange(100) < 3).astype(int)),
    expected=dict(nats=psi(100) - psi(99) + 0.97 * (psi(96) - psi(97)) + 0.03 * (psi(2) - psi(3))),
    source="by hand: all rows are within the distance 0; about 0",
  ),
)

TRUTHS = (
  Truth("classes", 2000, 0.06),
  Truth("classes:k=2,separation=1.0", 2000, 0.05),
  Truth("classes:k=3,d=2", 2000, 0.06),
)

COVERAGE = tuple(
  Truth(f"classes:{keys}", 1000, 0.15)
  for keys in (
    "k=2,separation=0.0",
    "k=2,separation=0.5",
    "k=2,separation=1.0",
    "k=2,separation=2.0",
    "k=3,separation=1.0",
    "k=3,separation=2.0",
    "k=3,separation=3.0",
    "k=4,separation=1.0",
    "k=4,separation=2.0",
    "k=4,separation=3.0",
    "k=2,separation=1.0,d=2",
    "k=3,separation=2.0,d=2",
  )
)
