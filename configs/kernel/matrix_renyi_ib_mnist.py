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
  c = base.pairwise(base.defaults())
  c.objective = dict(fn="ibjax.objectives.kernel.matrix_renyi_ib:matrix_renyi_ib", beta=0.01)
  return base.pairwise_variant(c, variant)
