"""What the quantiser of a code adds to an objective: commitment, codebook and entropy losses.

Source: van den Oord et al. 2017 (arXiv:1711.00937), eq. 3; Yu et al. 2023 (arXiv:2310.05737).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.resolver import bind
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term

INNER = "ibjax.objectives.supervised.cross_entropy:cross_entropy"
LAGRANGIAN = Lagrangian("none", "I(X;Z)")
# What a conformance test gives beside a Gaussian code.
AUX = {"commitment": lambda mean: jnp.sum(jnp.square(mean), axis=-1)}


def quantised(
  inner: Mapping[str, Any] | None = None,
  commitment: Scalar = 0.25,
  codebook: Scalar = 1.0,
  entropy: Scalar = 0.1,
  diversity: Scalar = 1.0,
) -> Objective:
  """Adds to any objective the losses that the quantiser of its code asks for.

  Formula: inner + commitment |x - sg(q)|^2 + codebook |sg(x) - q|^2 + entropy (H(p(c|x)) -
  diversity H(mean p(c|x))), each where the code's aux gives it. `vq` gives the first, and the
  second where its codebook learns by loss; `lfq` the first, third and fourth. `fsq` and `gumbel`
  give none and need none: use the inner objective itself. Squared distances are summed over the
  code, so that they weigh against an inner distortion in nats of the whole input.

  Use it with every bottleneck that gives one of these, or its encoder will drift from its codes.

  Args:
    inner: section of the objective; plain cross-entropy when None. `beta_vae` reconstructs; a
      code of fixed bits has a constant rate there.
    commitment: draws the encoder to its codes, >= 0.
    codebook: draws the codes to the encoder, >= 0.
    entropy: makes the choice of each symbol sure and all symbols frequent, >= 0.
    diversity: of the second against the first, >= 0.

  Returns:
    An `Objective` with the inner one's losses and metrics, and the losses commitment, codebook [n]
    (squared distances), entropy_nats and diversity_nats [n] of what the code gives.

  Raises:
    InputError: a negative weight, or a code that gives none of them.
    ConfigError: an inner objective that is unknown.

  Example:
    >>> from ibjax.objectives.wrappers.quantised import quantised
    >>> objective = quantised(dict(fn="ibjax.objectives.generative.beta_vae:beta_vae"))

  Source: van den Oord et al. 2017 (arXiv:1711.00937), eq. 3 (commitment 0.25); Yu et al. 2023
  (arXiv:2310.05737), eq. 5 (entropy 0.1, as published code weighs it).
  """
  for name, weight in (
    ("commitment", commitment),
    ("codebook", codebook),
    ("entropy", entropy),
    ("diversity", diversity),
  ):
    checks.at_least(name, weight, 0.0)
  objective = bind(dict(inner or {"fn": INNER}))
  # What aux calls it -> (what the loss is called, its weight).
  added = {
    "commitment": ("commitment", commitment),
    "codebook": ("codebook", codebook),
    "entropy": ("entropy_nats", entropy),
    "diversity": ("diversity_nats", -entropy * diversity),
  }

  def loss(params, state, outputs, batch, key, step):
    aux = outputs.code.aux
    if not added.keys() & aux.keys():
      raise InputError(
        f"quantised adds {', '.join(added)} of a quantised code, and this bottleneck gives none "
        f"of them (it gives {', '.join(sorted(aux)) or 'nothing beside its value'}). Use "
        "'ibjax.bottlenecks.vq:vq' or 'ibjax.bottlenecks.lfq:lfq', or the inner objective itself."
      )
    terms = objective.loss(params, state, outputs, batch, key, step)
    more = {
      called: Term(aux[name].astype(jnp.float32), weight)
      for name, (called, weight) in added.items()
      if name in aux
    }
    return dataclasses.replace(terms, losses={**terms.losses, **more})

  return objective._replace(loss=loss)


def _inputs(**aux):
  code = Code(value=jnp.zeros((2, 1)), rate=None, bits=None, aux=aux)
  return dict(
    outputs=Outputs(code, jnp.zeros((2, 2))),
    batch={"y": jnp.array([0, 1])},
    label_probs=jnp.full(2, 0.5),
  )


CASES = (
  Case(
    name="commitment and codebook on top of log 2",
    hyper=dict(commitment=0.5, codebook=2.0),
    inputs=lambda: _inputs(commitment=jnp.array([1.0, 3.0]), codebook=jnp.array([1.0, 1.0])),
    expected=dict(commitment=2.0, codebook=1.0, loss=0.6931471805599453 + 1.0 + 2.0),
    source="by hand",
  ),
  Case(
    name="entropies of opposite signs",
    hyper=dict(entropy=0.5, diversity=3.0),
    inputs=lambda: _inputs(entropy=jnp.array([0.25, 0.75]), diversity=jnp.array([1.0, 1.0])),
    expected=dict(entropy_nats=0.5, loss=0.6931471805599453 + 0.25 - 1.5),
    source="by hand",
  ),
)
