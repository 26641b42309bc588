"""What a discrete code is worth in bits over a whole split, and how many of its symbols it uses.

Source: Shannon 1948; the coder of Witten, Neal and Cleary 1987 (doi:10.1145/214762.214771).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.evaluators import arithmetic_coder


def code_usage(
  split: str = "test", examples: int = 10_000, coded: int = 1000
) -> Callable[[Trained], dict[str, float]]:
  """Measures a discrete code's bits: stored, by entropy, and by a real entropy coder.

  Formula: a code has m symbols z_1..z_m from k. stored_bits = m log2 k; entropy_bits = sum_j
  H(z_j), plug-in, an upper bound on the entropy of the whole code (symbols depend on each other);
  pooled_bits = m H(z), of all symbols together; perplexity = 2^(H(z)); usage_frac, how many of the
  k occur. adaptive_bits is what an adaptive model of each symbol takes, which has to learn the
  counts as it goes; coded_bits what an arithmetic coder made of it, checked by decoding it again.

  Use it to compare codes by bits: a nominal size says little of a codebook half of which is unused.

  Args:
    split: whose inputs are looked at.
    examples: the first so many; 0 takes all.
    coded: how many of them go through the coder, which takes seconds for a million symbols.

  Returns:
    `assess(trained) -> {"stored_bits", "entropy_bits", "pooled_bits", "adaptive_bits",
    "coded_bits", "perplexity", "usage_frac", "dead_codes"}`, bits per example. coded_bits is of
    fewer examples than adaptive_bits, and so somewhat above it: less is spread over what the model
    learns. A shared alphabet is counted once: a code that no codebook uses is dead.

  Raises:
    InputError: a code that is not discrete, a setting out of range.

  Example:
    >>> from ibjax.evaluators.code_usage import code_usage
    >>> assess = code_usage(examples=0)

  Source: Shannon 1948, "A mathematical theory of communication"; Witten et al. 1987.
  """
  checks.at_least("examples", examples, 0)
  checks.at_least("coded", coded, 1)

  def assess(trained: Trained) -> dict[str, float]:
    found = trained.forward(trained.data("", split)["x"][: examples or None])
    if not {"indices", "alphabet"} <= found.keys():
      raise InputError(
        "code_usage looks at the symbols of a discrete code; this bottleneck gives "
        f"{', '.join(sorted(found))}. Use one of vq, residual_vq, fsq, lfq and gumbel of "
        "ibjax.bottlenecks, or leave it out of config.assess."
      )
    indices = np.asarray(found["indices"]).astype(np.int64)
    return measure(indices, int(found["alphabet"][0]), coded)

  return assess


def measure(indices: np.ndarray, alphabet: int, coded: int) -> dict[str, float]:
  """Measures symbols, see `code_usage`.

  Args:
    indices: [n, m] integers, 0..alphabet-1.
    alphabet: k.
    coded: rows that go through the coder, at most.

  Returns:
    Name -> number; bits are per row.

  Raises:
    InputError: the coder does not give back what it was given, which is a defect.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.code_usage import measure
    >>> found = measure(np.array([[0, 1], [2, 1]]), 4, 10)
    >>> found["stored_bits"], found["entropy_bits"], found["pooled_bits"], found["usage_frac"]
    (4.0, 1.0, 3.0, 0.75)
  """
  n, m = indices.shape
  pooled = np.unique(indices, return_counts=True)[1]
  columns = [np.unique(column, return_counts=True)[1] for column in indices.T]
  some = indices[:coded]
  message = arithmetic_coder.encode(some, alphabet)
  if not np.array_equal(arithmetic_coder.decode(message, len(some), m, alphabet), some):
    raise InputError("the arithmetic coder gave back other symbols than it was given.")
  return {
    "stored_bits": m * float(np.log2(alphabet)),
    "entropy_bits": sum(_entropy(counts) for counts in columns),
    "pooled_bits": m * _entropy(pooled),
    "adaptive_bits": arithmetic_coder.ideal_bits(indices, alphabet) / n,
    "coded_bits": 8.0 * len(message) / len(some),
    "perplexity": 2.0 ** _entropy(pooled),
    "usage_frac": len(pooled) / alphabet,
    "dead_codes": float(alphabet - len(pooled)),
  }


def _entropy(counts: np.ndarray) -> float:
  share = counts / counts.sum()
  return float(-(share * np.log2(share)).sum())
