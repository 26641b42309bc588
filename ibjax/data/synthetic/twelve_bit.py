"""The twelve-bit task of Shwartz-Ziv and Tishby: patterns on a sphere and a symmetric rule.

The 12 bits are the vertices of an icosahedron, and the label depends on nothing but how many are
set (w), how many pairs of neighbours (e) and how many antipodal pairs (a) of them: so it does not
change when the pattern is rotated. The rule below gives the labels of the published file, all
4096 of them; the file itself is not needed.

Source: Shwartz-Ziv and Tishby 2017, "Opening the Black Box of Deep Neural Networks via
Information", and the data published with its code.
"""

from __future__ import annotations

import numpy as np

from ibjax.core import checks
from ibjax.data.synthetic.discrete import entropy
from ibjax.data.synthetic.task import Arrays, Task, family, joint

BITS = 12
# The neighbours of each vertex.
NEIGHBOURS = (
  (1, 3, 5, 10, 11),
  (0, 2, 3, 4, 11),
  (1, 3, 4, 8, 9),
  (0, 1, 2, 8, 10),
  (1, 2, 6, 9, 11),
  (0, 6, 7, 10, 11),
  (4, 5, 7, 9, 11),
  (5, 6, 8, 9, 10),
  (2, 3, 7, 9, 10),
  (2, 4, 6, 7, 8),
  (0, 3, 5, 7, 8),
  (0, 1, 4, 5, 6),
)
ANTIPODES = ((0, 9), (1, 7), (2, 5), (3, 6), (4, 10), (8, 11))


def words() -> np.ndarray:
  """Lists all words of twelve bits in counting order.

  Returns:
    [4096, 12] uint8, bit 0 the most significant.
  """
  return (np.arange(1 << BITS)[:, None] >> np.arange(BITS)[::-1] & 1).astype(np.uint8)


def labels() -> np.ndarray:
  """Labels every word of `words()`.

  Returns:
    [4096] int64: 2118 ones and 1978 zeros.

  Example:
    >>> int(labels().sum())
    2118
  """
  bits = words().astype(np.int64)
  near = np.zeros((BITS, BITS), np.int64)
  for vertex, others in enumerate(NEIGHBOURS):
    near[vertex, list(others)] = 1
  w = bits.sum(axis=1)
  e = np.einsum("ni,ij,nj->n", bits, near, bits) // 2
  a = sum(bits[:, i] * bits[:, j] for i, j in ANTIPODES)
  positive = w >= 8
  positive |= (w == 7) & ~((e == 8) & (a == 2))
  positive |= (w == 6) & ((e >= 7) | ((e == 6) & (a == 0)))
  positive |= (w == 5) & (e == 7) & (a == 0)
  return positive.astype(np.int64)


@family
def twelve_bit(as_labels: int = 0) -> Task:
  """Words of twelve bits, uniform, and a label that a symmetric rule gives them.

  Formula: I(X;Y) = H(Y), as y is a function of x: 0.99916 bits. H(X) = 12 bits.

  Args:
    as_labels: 1 for x as one label in 0..4095; 0 for x as twelve numbers, 0 or 1.

  Returns:
    A `Task` with y labels.

  Raises:
    InputError: as_labels is neither 0 nor 1.
  """
  checks.between("as_labels", as_labels, 0, 1)
  bits, rule = words().astype(np.float64), labels()
  nats = entropy(np.bincount(rule) / len(rule))

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    index = rng.integers(0, len(rule), n)
    return (index if as_labels else bits[index]), rule[index]

  return Task(
    id="twelve_bit",
    dx=0 if as_labels else BITS,
    dy=0,
    nats=nats,
    sample=sample,
    source="Shwartz-Ziv and Tishby 2017; counted",
    entropies=joint(BITS * np.log(2.0), nats, nats),
    classes={"x": len(rule), "y": 2} if as_labels else {"y": 2},
  )


FAMILIES = (twelve_bit,)
