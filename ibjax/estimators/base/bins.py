"""What the estimators by binning share: from codes of bins to a `Value`, with its warning."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.estimate import Note, Value
from ibjax.estimators.base import states

Array = jax.Array
NO_INTERVAL = "the bias of binning is larger than its spread, and its size is unknown"


def value(x: Any, y: Any) -> Value:
  """The entropy of the bins of x, or their information about y.

  Args:
    x: [n, d] int32 bins.
    y: [n, e] int32 bins, or [n] integer labels, or None.

  Returns:
    A `Value` with "alone_frac", the share of rows that no other row shares its bins with.
  """
  x = jnp.asarray(x, jnp.int32)
  if y is None:
    nats, alone = states.entropy(x)
  else:
    y = jnp.asarray(y, jnp.int32)
    nats, alone = states.information(x, y[:, None] if y.ndim == 1 else y)
  notes: tuple[Note, ...] = ()
  if checks.is_concrete(alone) and float(alone) > 0.9:
    n = len(x)
    what = f"I(X;T) is merely log n = {math.log(n):.3f}" if y is None else "I is merely H(Y)"
    notes = (
      Note(
        "alone",
        f"{100 * float(alone):.0f}% of the {n} rows are alone in their bin, so {what}, whatever "
        "the data. Give wider bins, fewer columns or more samples.",
      ),
    )
  return Value(nats, extra={"alone_frac": alone}, notes=notes)
