"""Representation-entropy regularisation (IBLM) on MNIST: a deterministic code of 32 dimensions.

Paper: Yu 2025, "Memorization-compression cycles improve generalization" (arXiv:2505.08727), on a
language model there.

Command: ibjax train --config=configs/kernel/matrix_entropy_mnist.py
  --workdir=runs/matrix_entropy_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error       2.90 %
  S_2(Z)      0.060 nats (of at most log 32 = 3.47): nearly one direction, which is enough
  distortion  0.097 nats

Time: 33 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(fn="ibjax.objectives.kernel.matrix_entropy:matrix_entropy", beta=0.1)
  return base.pairwise_variant(c, variant)
