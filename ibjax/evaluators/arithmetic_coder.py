"""An adaptive arithmetic coder of symbols: what a discrete code takes when it is stored.

Sender and receiver keep the same counts of the symbols so far, so that no table has to be sent.
Integers of 32 bits throughout: what is decoded is what was encoded, bit for bit.

Source: Witten, Neal and Cleary 1987, "Arithmetic coding for data compression" (doi:10.1145/
214762.214771); the counts are those of Laplace's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import lgamma, log

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError

PRECISION = 32
FULL = (1 << PRECISION) - 1
HALF = 1 << (PRECISION - 1)
QUARTER = 1 << (PRECISION - 2)
# Counts are halved when they add up to this: the coder's intervals must stay wider than a count.
MOST = 1 << 24


class _Counts:
  """Counts of one alphabet, summed up in a binary indexed tree."""

  def __init__(self, symbols: int):
    self.size = 1 << max(symbols - 1, 1).bit_length()
    self.each = [1] * symbols
    self._build()

  def _build(self) -> None:
    self.tree = [0] * (self.size + 1)
    self.total = sum(self.each)
    for i, count in enumerate(self.each, start=1):
      self.tree[i] += count
      above = i + (i & -i)
      if above <= self.size:
        self.tree[above] += self.tree[i]
    for i in range(len(self.each) + 1, self.size + 1):
      above = i + (i & -i)
      if above <= self.size:
        self.tree[above] += self.tree[i]

  def below(self, symbol: int) -> int:
    """Sum of the counts of all smaller symbols."""
    total, i = 0, symbol
    while i:
      total += self.tree[i]
      i -= i & -i
    return total

  def find(self, target: int) -> int:
    """The symbol in whose part of 0..total the target lies."""
    place, step = 0, self.size
    while step:
      ahead = place + step
      if ahead <= self.size and self.tree[ahead] <= target:
        place, target = ahead, target - self.tree[ahead]
      step >>= 1
    return place

  def add(self, symbol: int) -> None:
    """Counts a symbol once more."""
    if self.total >= MOST:
      self.each = [(count + 1) // 2 for count in self.each]
      self._build()
    self.each[symbol] += 1
    self.total += 1
    i = symbol + 1
    while i <= self.size:
      self.tree[i] += 1
      i += i & -i


class _Writer:
  """Bits into bytes, those that wait for a carry included."""

  def __init__(self) -> None:
    self.bits: list[int] = []
    self.waiting = 0

  def put(self, bit: int) -> None:
    self.bits.append(bit)
    if self.waiting:
      self.bits.extend([1 - bit] * self.waiting)
      self.waiting = 0


def encode(indices: np.ndarray, alphabet: int) -> bytes:
  """Encodes rows of symbols, each column with counts of its own.

  Formula: a symbol of column c costs -log2((1 + n) / (k + N)), n how often it was seen in that
  column among the N rows before.

  Args:
    indices: [rows, columns] integers, 0..alphabet-1.
    alphabet: k, the number of symbols.

  Returns:
    The message; its length in bits is within a few bytes of `ideal_bits`.

  Raises:
    InputError: an array of another rank, or a symbol outside the alphabet.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.arithmetic_coder import encode
    >>> len(encode(np.zeros((1000, 1), int), 256)), len(encode(np.arange(256)[:, None], 256))
    (114, 274)

  Source: Witten et al. 1987, figure 3.
  """
  symbols = _checked(indices, alphabet)
  counts = [_Counts(alphabet) for _ in range(symbols.shape[1])]
  low, high, out = 0, FULL, _Writer()
  for model, symbol in _pairs(counts, symbols.tolist()):
    start, width = model.below(symbol), high - low + 1
    high = low + width * (start + model.each[symbol]) // model.total - 1
    low = low + width * start // model.total
    model.add(symbol)
    while True:
      if high < HALF:
        out.put(0)
      elif low >= HALF:
        out.put(1)
        low, high = low - HALF, high - HALF
      elif low >= QUARTER and high < HALF + QUARTER:
        out.waiting += 1
        low, high = low - QUARTER, high - QUARTER
      else:
        break
      low, high = low << 1, (high << 1) | 1
  out.waiting += 1
  out.put(int(low >= QUARTER))
  return np.packbits(np.array(out.bits, np.uint8)).tobytes()


def decode(message: bytes, rows: int, columns: int, alphabet: int) -> np.ndarray:
  """Decodes what `encode` made.

  Args:
    message: the bytes.
    rows: how many rows there are.
    columns: how many columns.
    alphabet: the number of symbols.

  Returns:
    [rows, columns] int32, what was encoded.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.arithmetic_coder import decode, encode
    >>> decode(encode(np.array([[2, 0], [1, 3]]), 4), 2, 2, 4).tolist()
    [[2, 0], [1, 3]]

  Source: Witten et al. 1987, figure 3.
  """
  bits = np.unpackbits(np.frombuffer(message, np.uint8)).tolist()
  bits += [0] * (2 * PRECISION)  # those behind the end are zeros
  counts = [_Counts(alphabet) for _ in range(columns)]
  low, high, position = 0, FULL, PRECISION
  value = int("".join(map(str, bits[:PRECISION])), 2)
  found = np.zeros((rows, columns), np.int32)
  for row in range(rows):
    for column, model in enumerate(counts):
      width = high - low + 1
      symbol = model.find(((value - low + 1) * model.total - 1) // width)
      found[row, column] = symbol
      start = model.below(symbol)
      high = low + width * (start + model.each[symbol]) // model.total - 1
      low = low + width * start // model.total
      model.add(symbol)
      while True:
        if high < HALF:
          less = 0
        elif low >= HALF:
          less = HALF
        elif low >= QUARTER and high < HALF + QUARTER:
          less = QUARTER
        else:
          break
        low, high, value = (low - less) << 1, ((high - less) << 1) | 1, (value - less) << 1
        value |= bits[position] if position < len(bits) else 0
        position += 1
  return found


def ideal_bits(indices: np.ndarray, alphabet: int) -> float:
  """How many bits the adaptive model takes for rows of symbols, whatever codes them.

  Formula: the product of (1 + n) / (k + N) depends on the counts alone: for each column,
  log2 Gamma(k + N) / Gamma(k) - sum_s log2 n_s!.

  Args:
    indices: [rows, columns] integers, 0..alphabet-1.
    alphabet: k, the number of symbols.

  Returns:
    Bits of all rows together.

  Raises:
    InputError: an array of another rank, or a symbol outside the alphabet.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.arithmetic_coder import ideal_bits
    >>> round(ideal_bits(np.array([[0], [0]]), 2), 6)  # 1/2, then 2/3
    1.584963

  Source: Laplace's rule of succession; closed form.
  """
  symbols = _checked(indices, alphabet)
  rows = len(symbols)
  nats = 0.0
  for column in symbols.T:
    _, counts = np.unique(column, return_counts=True)
    nats += lgamma(alphabet + rows) - lgamma(alphabet) - sum(lgamma(n + 1.0) for n in counts)
  return nats / log(2.0)


def _checked(indices: np.ndarray, alphabet: int) -> np.ndarray:
  symbols = np.asarray(indices)
  checks.shape("indices", symbols, (None, None))
  if symbols.size and not (symbols.min() >= 0 and symbols.max() < alphabet):
    raise InputError(
      f"symbols lie between {symbols.min()} and {symbols.max()}, and the alphabet has {alphabet}: "
      "0 and above, below that number."
    )
  return symbols


def _pairs(
  counts: Sequence[_Counts], rows: Iterable[Sequence[int]]
) -> Iterable[tuple[_Counts, int]]:
  for row in rows:
    yield from zip(counts, row)
