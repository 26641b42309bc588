"""The names of `config.batch_scope`, and what each kind of objective sees under them."""

from __future__ import annotations

# Which examples a coupled objective sees together: "global", the whole batch over all devices;
# "device", each device's part of it, the values averaged (`ibjax.programs.scope`).
SCOPES = ("global", "device")


def sees(couples: bool) -> str:
  """Says in words which examples an objective sees together.

  Args:
    couples: `Objective.couples`.

  Returns:
    Text without a full stop.

  Example:
    >>> from ibjax.core.scope import sees
    >>> sees(False)
    'each example by itself, whatever the batch scope'
  """
  if not couples:
    return "each example by itself, whatever the batch scope"
  return (
    "the whole batch, over all devices; with `config.batch_scope=device` each device's part of it"
  )
