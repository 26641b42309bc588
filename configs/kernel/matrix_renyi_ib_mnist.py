"""Matrix-based Renyi IB on MNIST: a deterministic code of 32 dimensions.

Paper: Yu, Yu and Principe 2021, "Deep deterministic information bottleneck with matrix-based
entropy functional" (ICASSP 2021, arXiv:2102.00533); with order 2, not 1.01.

Command: ibjax train --config=configs/kernel/matrix_renyi_ib_mnist.py
  --workdir=runs/matrix_renyi_ib_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error       2.55 %
  I_2(X;Z)    1.90 nats (of at most log 256 = 5.55)
  S_2(Z)      3.29 nats
  distortion  0.082 nats

Time: 110 s on 2 busy cores (1170 steps).

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
  c.objective = dict(fn="ibjax.objectives.kernel.matrix_renyi_ib:matrix_renyi_ib", beta=0.01)
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
