"""Windows of one long sequence of tokens, and the tokens that follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ibjax.data.source import Arrays

IGNORED = -1  # a target that does not count


def windows(
  tokens: np.ndarray, window: int, stride: int
) -> tuple[int, Callable[[np.ndarray], Arrays], int]:
  """Cuts a sequence into windows that start every `stride` tokens.

  A window i is x = tokens[i s : i s + w] with y = tokens[i s + 1 : i s + w + 1]. The last one may
  reach behind the end, and so that every token after the first is a target of some window: there x
  is 0 and y is `IGNORED`. With stride = window each is a target exactly once.

  Args:
    tokens: [m] integers, m > 1.
    window: w.
    stride: s, 1 to w.

  Returns:
    (number of windows, `read(indices) -> {"x": [k, w] int32, "y": [k, w] int32}`, bytes of all).

  Example:
    >>> import numpy as np
    >>> from ibjax.data.windows import windows
    >>> n, read, _ = windows(np.arange(4), window=2, stride=2)
    >>> read(np.arange(n))["y"].tolist()
    [[1, 2], [3, -1]]
  """
  targets = len(tokens) - 1
  n = 1 + max(0, -(-(targets - window) // stride))
  pad = (n - 1) * stride + window + 1 - len(tokens)
  x = np.concatenate([tokens, np.zeros(max(pad, 0), tokens.dtype)]).astype(np.int32)
  y = np.concatenate([tokens, np.full(max(pad, 0), IGNORED)]).astype(np.int32)
  reach = np.arange(window)

  def read(indices: np.ndarray) -> Arrays:
    at = np.asarray(indices, np.int64)[:, None] * stride + reach
    return {"x": x[at], "y": y[at + 1]}

  return n, read, n * window * 8
