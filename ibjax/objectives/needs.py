"""What an objective needs of the model's outputs, checked before anything is trained."""

from __future__ import annotations

from ibjax.core.errors import InputError
from ibjax.core.types import Array, Outputs

# What can be asked for -> (what it is, which bottlenecks give it).
GIVEN_BY = {
  "rate": ("a rate in nats", ("gaussian", "homoscedastic", "distance_aware")),
  "bits": ("a number of stored bits", ()),
  "mean": ("the mean of a Gaussian code", ("gaussian", "homoscedastic")),
  "log_scale": ("the log scale of a Gaussian code", ("gaussian", "homoscedastic")),
  "log_prob": ("the code's log density under the encoder", ("gaussian", "homoscedastic")),
  "orthogonality": ("a projection's distance from orthogonality", ("ard_gaussian",)),
  "active": ("which dimensions are sent", ("ard_gaussian",)),
  "blocks": ("main and auxiliary codes", ("structured_gaussian",)),
  "stage": ("a stage of the training", ("structured_gaussian",)),
  "weights": ("the weights of a mixture of codes", ("structured_gaussian",)),
  "twin": ("the code of a twin network", ("twin",)),
}


def require(method: str, outputs: Outputs, what: str) -> Array:
  """Returns a part of the code, or says what the method needs and which bottlenecks give it.

  Args:
    method: the objective's name, for the message.
    outputs: what the objective was given.
    what: "rate", "bits", or a key of `Code.aux`, e.g. "mean".

  Returns:
    The array.

  Raises:
    InputError: the code lacks it.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.core.types import Code, Outputs
    >>> from ibjax.objectives.needs import require
    >>> code = Code(jnp.zeros((1, 2)), rate=jnp.ones(1), bits=None, aux={})
    >>> float(require("vib", Outputs(code, jnp.zeros((1, 3))), "rate")[0])
    1.0
  """
  code = outputs.code
  found = getattr(code, what) if what in ("rate", "bits") else code.aux.get(what)
  if found is not None:
    return found
  meaning, bottlenecks = GIVEN_BY.get(what, (f"'{what}' of the code", ()))
  names = " or ".join(f"'ibjax.bottlenecks.{name}:{name}'" for name in bottlenecks)
  there = ", ".join(sorted(code.aux)) or "nothing beside its value"
  advice = f" Set config.bottleneck.fn to {names}." if names else ""
  raise InputError(
    f"{method} needs {meaning}; this bottleneck gives none (it gives {there}).{advice}"
  )


def require_views(method: str, outputs: Outputs, least: int = 2) -> int:
  """Returns the number of views of each example, or says how to get as many as are needed.

  Args:
    method: the objective's name, for the message.
    outputs: what the objective was given.
    least: how many the method needs.

  Returns:
    `outputs.views`.

  Raises:
    InputError: there are fewer.
  """
  if outputs.views < least:
    raise InputError(
      f"{method} compares at least {least} views of each example, and the batch has "
      f"{outputs.views}. Set config.views.count={least} and config.views.fn to one of ibjax.views."
    )
  return outputs.views
