"""The convex information bottleneck: a convex function of any objective's rate.

Source: Rodriguez Galvez et al. 2020, "The convex information bottleneck Lagrangian"
(arXiv:1911.11000).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term
from ibjax.objectives.wrappers.inner import build, price

FUNCTIONS = ("square", "power", "exponential")
LAGRANGIAN = Lagrangian("rate", "u(I(X;Z))")


def convex(
  inner: Mapping[str, Any] | None = None,
  beta: Scalar = 1e-3,
  function: str = "square",
  shape: Scalar = 1.0,
) -> Objective:
  """Prices a strictly convex function of the average rate of another objective.

  Use it when Y is a function of X: then the linear Lagrangian jumps from all to nothing at
  beta = 1, whatever is between, while here each beta has one point of the curve as its optimum.

  Formula: min distortion + beta u(R), R the average of what the inner objective multiplies by its
  beta (its rate, in nats); u(R) = R^2 ("square"), R^(1 + shape) ("power") or exp(shape R)
  ("exponential"). At an optimum the price of a nat is beta u'(R).

  Args:
    inner: section of the objective whose rate it is, without its beta; VIB when None.
    beta: multiplies u(R), >= 0; may be traced.
    function: "square", "power" or "exponential".
    shape: of the power or the exponential, > 0; unused for the square; may be traced.

  Returns:
    An `Objective` with the inner one's losses and metrics, of which those that beta multiplies
    are metrics here, the loss convex_penalty (a scalar, u(R)) and the metric effective_beta,
    beta u'(R).

  Raises:
    InputError: a negative beta, a shape of 0 or less, an unknown function, an inner objective
      whose rate cannot be found.
    ConfigError: an inner objective that is unknown, or has no beta.

  Example:
    >>> from ibjax.objectives.wrappers.convex import convex
    >>> objective = convex(inner=dict(fn="ibjax.objectives.variational.ceb:ceb"), beta=0.01)

  Source: Rodriguez Galvez et al. 2020 (arXiv:1911.11000), theorem 2 and section 4; the square is
  Kolchinsky et al. 2019 (arXiv:1808.07593), eq. 8.
  """
  checks.at_least("beta", beta, 0.0)
  checks.one_of("function", function, FUNCTIONS)
  checks.at_least("shape", shape, 0.0, strict=True)
  unit = jnp.float32(1.0)
  objective = build("convex", inner, unit)

  def loss(params, state, outputs, batch, key, step):
    terms = objective.loss(params, state, outputs, batch, key, step)
    names, rate = price("convex", terms, unit, batch["mask"])
    # A sampled rate can be below 0 by chance; a power of it would be no number.
    rate = jnp.maximum(rate, 0.0)
    if function == "exponential":
      value, slope = jnp.exp(shape * rate), shape * jnp.exp(shape * rate)
    else:
      power = 2.0 if function == "square" else 1.0 + shape
      value, slope = rate**power, power * rate ** (power - 1.0)
    kept = {name: term for name, term in terms.losses.items() if name not in names}
    return dataclasses.replace(
      terms,
      losses={**kept, "convex_penalty": Term(value.astype(jnp.float32), beta)},
      metrics={
        **{name: terms.losses[name].value for name in names},
        **terms.metrics,
        "effective_beta": jnp.asarray(beta * slope, jnp.float32),
      },
    )

  return Objective(objective.init, loss, couples=True, views=objective.views, alone=objective.alone)


def _inputs():
  code = Code(value=jnp.zeros((2, 1)), rate=jnp.array([1.0, 3.0]), bits=None, aux={})
  return dict(
    outputs=Outputs(code, jnp.zeros((2, 2))),
    batch={"y": jnp.array([0, 1])},
    label_probs=jnp.full(2, 0.5),
  )


CASES = (
  Case(
    name="the square of an average rate of 2 nats",
    hyper=dict(beta=0.1),
    inputs=_inputs,
    expected=dict(convex_penalty=4.0, rate_nats=2.0, effective_beta=0.4),
    source="by hand",
  ),
  Case(
    name="its exponential",
    hyper=dict(beta=0.1, function="exponential", shape=0.5),
    inputs=_inputs,
    expected=dict(convex_penalty=2.718281828459045, effective_beta=0.05 * 2.718281828459045),
    source="by hand: exp(0.5 * 2) = e",
  ),
  Case(
    name="the power 1 + 1 is the square",
    hyper=dict(beta=0.1, function="power", shape=1.0),
    inputs=_inputs,
    expected=dict(convex_penalty=4.0, effective_beta=0.4),
    source="limit",
  ),
)
