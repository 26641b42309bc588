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
  c = base.defaults()
  c.data.batch_size = 256
  c.encoder.hidden = (256, 256)
  c.bottleneck.dim = 32
  c.objective = dict(fn="ibjax.objectives.kernel.matrix_entropy:matrix_entropy", beta=0.1)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "5 epochs"
  c.eval.batch_size = 256  # of all pairs; what depends on the batch's size is of one size
  c.eval.samples = 1
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.eval.batch_size = 64
    c.bottleneck.dim = 8
  return c
