"""Gated phase transition (GAPT): memorise or compress, switched by which of them still improves.

Source: Yu 2025, "Memorization-compression cycles improve generalization" (arXiv:2505.08727).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Objective, Scalar, Term, Terms
from ibjax.objectives import batch_entropy
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.kernel.matrix_entropy import inputs

Array = jax.Array
LAGRANGIAN = Lagrangian(form="rate", penalty="S(Z)")


def gated_phases(
  beta: Scalar = 1.0,
  patience_memorise: Scalar = 125.0,
  patience_compress: Scalar = 125.0,
  improvement_distortion: Scalar = 0.01,
  improvement_entropy: Scalar = 0.01,
  tolerance: Scalar = 0.1,
  smoothing: Scalar = 0.0,
  leak: Scalar = 0.0,
  alpha: Scalar = 1.01,
  spectrum: str = "quadratic",
  centred: bool = False,
) -> Objective:
  """Charges for the entropy of the codes in phases, while cross-entropy does not suffer.

  Formula: min E[-log q(y|z)] + g beta S(Z), S(Z) as of `matrix_entropy`; g = `leak` while
  memorising (0 in the source), 1 while compressing. Memorising ends when the distortion has not
  been `improvement_distortion` nats below its best for `patience_memorise` updates; compressing
  ends when the entropy has not been `improvement_entropy` nats below its best for
  `patience_compress` updates, or the distortion is `tolerance` (a fraction) above its best. The
  best entropy is forgotten when compressing ends, the best distortion when it starts.

  Use it in place of `matrix_entropy` where a constant price costs accuracy. Assumes a distortion
  above zero (a density's may be negative: then the tolerance is of its size, which is arbitrary).
  The rule looks at single batches: on small ones the best value is a lucky one and the tolerance
  is crossed by chance; `smoothing` lets it look at moving averages.

  The phase, counters and best values are the objective's state: they move with each update (each
  microbatch where updates are accumulated), are saved in checkpoints, and stand still in
  evaluation.

  Args:
    beta: price of a nat while compressing, >= 0; may be traced.
    patience_memorise: updates, >= 1; may be traced.
    patience_compress: updates, >= 1; may be traced.
    improvement_distortion: nats that count as one, >= 0; may be traced.
    improvement_entropy: nats that count as one, >= 0; may be traced.
    tolerance: of the distortion while compressing, >= 0; may be traced.
    smoothing: decay of the moving averages that the rule looks at, in [0, 1); 0 looks at the batch
      alone (the source's); may be traced.
    leak: share of the price that is paid while memorising, in [0, 1]; 1 is `matrix_entropy`.
    alpha: as of `matrix_entropy`.
    spectrum: as of `matrix_entropy`.
    centred: as of `matrix_entropy`.

  Returns:
    An `Objective` with losses distortion_nats [n] and gated_entropy_nats (scalar, g S), and the
    metrics entropy_z_nats (S), compressing_frac (0 or 1) and phase_changes (so far), scalars, and
    i_yz_lower_nats (average, nats).

  Raises:
    InputError: a number outside its range, an unknown spectrum, predictions or targets that do not
      fit.

  Example:
    >>> from ibjax.objectives.kernel.gated_phases import gated_phases
    >>> objective = gated_phases(beta=0.5, patience_memorise=50.0)

  Source: Yu 2025 (arXiv:2505.08727), the gated phase transition algorithm; the resets and the
  default patiences, improvements and tolerance are those of its author's scheduler.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("patience_memorise", patience_memorise, 1.0)
  checks.at_least("patience_compress", patience_compress, 1.0)
  checks.at_least("improvement_distortion", improvement_distortion, 0.0)
  checks.at_least("improvement_entropy", improvement_entropy, 0.0)
  checks.at_least("tolerance", tolerance, 0.0)
  checks.between("smoothing", smoothing, 0.0, 1.0, open_high=True)
  checks.between("leak", leak, 0.0, 1.0)
  batch_entropy.check_order(alpha, spectrum)
  rule: dict[str, Scalar] = dict(
    patience_memorise=patience_memorise,
    patience_compress=patience_compress,
    improvement_distortion=improvement_distortion,
    improvement_entropy=improvement_entropy,
    tolerance=tolerance,
    smoothing=smoothing,
  )

  def init(key, spec):
    params, state = init_distortion(spec)
    return params, {**state, "gate": start()}

  def loss(params, state, outputs, batch, key, step):
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    mask = batch["mask"]
    entropy = batch_entropy.of_rows(outputs.code.value, mask, alpha, spectrum, centred)
    gate = state["gate"]
    count = jnp.maximum(jnp.sum(mask, dtype=jnp.float32), 1.0)
    mean = jnp.sum(jnp.where(mask, distortion, 0.0)) / count
    compressing = gate["compressing"]
    seen = jax.lax.stop_gradient((mean, entropy))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "gated_entropy_nats": Term(entropy * (leak + (1.0 - leak) * compressing), beta),
      },
      metrics={
        "entropy_z_nats": entropy,
        "compressing_frac": compressing,
        "phase_changes": gate["changes"],
        **information_bound(state, distortion),
      },
      state={**state, "gate": switch(gate, seen[0], seen[1], **rule)},
    )

  return Objective(init, loss, couples=True, alone=spectrum != "quadratic")


def start() -> dict[str, Array]:
  """The gate's state before the first update: memorising, nothing seen.

  Returns:
    Name -> float32 scalar. "compressing" is 0 or 1, "distortion" and "entropy" the moving averages
    and "seen" the updates they are of, "best_..." the least values, "waited_..." the updates since
    one improved, "changes" the number of changes of phase.

  Example:
    >>> from ibjax.objectives.kernel.gated_phases import start
    >>> float(start()["compressing"])
    0.0
  """
  moving = ("distortion", "entropy", "waited_distortion", "waited_entropy")
  zeros = {name: jnp.float32(0.0) for name in ("compressing", "changes", "seen", *moving)}
  return {**zeros, "best_distortion": jnp.float32(jnp.inf), "best_entropy": jnp.float32(jnp.inf)}


def switch(
  gate: Mapping[str, Array],
  distortion: Array,
  entropy: Array,
  *,
  patience_memorise: Scalar,
  patience_compress: Scalar,
  improvement_distortion: Scalar,
  improvement_entropy: Scalar,
  tolerance: Scalar,
  smoothing: Scalar,
) -> dict[str, Array]:
  """The gate's state after an update with these values, see `gated_phases`.

  Args:
    gate: as of `start`.
    distortion: of the batch, nats.
    entropy: of the batch, nats.
    patience_memorise: as of `gated_phases`.
    patience_compress: as of `gated_phases`.
    improvement_distortion: as of `gated_phases`.
    improvement_entropy: as of `gated_phases`.
    tolerance: as of `gated_phases`.
    smoothing: as of `gated_phases`.

  Returns:
    The new state.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.kernel.gated_phases import start, switch
    >>> rule = dict(patience_memorise=1.0, patience_compress=1.0, improvement_distortion=0.0,
    ...             improvement_entropy=0.0, tolerance=0.1, smoothing=0.0)
    >>> float(switch(start(), jnp.float32(1.0), jnp.float32(1.0), **rule)["compressing"])
    1.0
  """
  # Averages without the bias of their start at 0: s^t of the first value's weight is left out.
  seen = gate["seen"] + 1.0
  average = {}
  for name, value in (("distortion", distortion), ("entropy", entropy)):
    average[name] = gate[name] * smoothing + (1.0 - smoothing) * value
  weight = 1.0 - jnp.power(jnp.float32(smoothing), seen)
  distortion, entropy = (average[name] / weight for name in ("distortion", "entropy"))

  def waited(name, value, least):
    gain = gate[f"best_{name}"] - value
    better = (gain > least) & jnp.isfinite(gain)  # a first value is no improvement
    return jnp.where(better, 0.0, gate[f"waited_{name}"] + 1.0)

  compressing = gate["compressing"] > 0
  wait_distortion = waited("distortion", distortion, improvement_distortion)
  wait_entropy = waited("entropy", entropy, improvement_entropy)
  best = gate["best_distortion"]
  worse = distortion >= best + tolerance * jnp.abs(best)
  stop = compressing & ((wait_entropy >= patience_compress) | (worse & jnp.isfinite(best)))
  go = ~compressing & (wait_distortion >= patience_memorise)
  forget = jnp.float32(jnp.inf)
  return {
    "compressing": jnp.where(stop, 0.0, jnp.where(go, 1.0, gate["compressing"])),
    "changes": gate["changes"] + jnp.where(stop | go, 1.0, 0.0),
    "seen": seen,
    **average,
    "best_distortion": jnp.where(go, forget, jnp.minimum(best, distortion)),
    "best_entropy": jnp.where(stop, forget, jnp.minimum(gate["best_entropy"], entropy)),
    "waited_distortion": jnp.where(stop, 0.0, wait_distortion),
    "waited_entropy": jnp.where(go, 0.0, wait_entropy),
  }


CASES = (
  Case(
    name="memorising at first: entropy is seen and not paid for",
    hyper=dict(beta=0.5),
    inputs=inputs,
    expected=dict(
      distortion_nats=math.log(2),
      entropy_z_nats=-math.log(0.82),
      compressing_frac=0.0,
      loss=math.log(2),
    ),
    source="closed form: eigenvalues 0.9 and 0.1, gate closed",
  ),
  Case(
    name="a gate that leaks everything is matrix_entropy",
    hyper=dict(beta=0.5, leak=1.0),
    inputs=inputs,
    expected=dict(compressing_frac=0.0, loss=math.log(2) - 0.5 * math.log(0.82)),
    source="limit",
  ),
)
