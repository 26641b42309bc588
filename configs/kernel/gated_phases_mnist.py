"""Gated phase transition (GAPT) on MNIST: entropy is paid for while cross-entropy has stalled.

Paper: Yu 2025, "Memorization-compression cycles improve generalization" (arXiv:2505.08727), on a
language model there.

Command: ibjax train --config=configs/kernel/gated_phases_mnist.py --workdir=runs/gated_phases_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error             2.63 %
  S_2(Z)            0.187 nats (of at most log 32 = 3.47)
  changes of phase  11
  distortion        0.085 nats

Time: 24 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(
    fn="ibjax.objectives.kernel.gated_phases:gated_phases", beta=0.1, smoothing=0.95
  )
  base.pairwise_variant(c, variant)
  if variant == "smoke":
    c.objective.patience_memorise = 10.0
    c.objective.patience_compress = 10.0
  return c
