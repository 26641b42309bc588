"""Deterministic IB on MNIST: a price on the matrix-based entropy of the code.

Paper: Strouse and Schwab 2017, "The deterministic information bottleneck" (arXiv:1604.00268), for
discrete codes; the entropy of a real-valued one is matrix-based (arXiv:1211.2459).

Command: ibjax train --config=configs/kernel/deterministic_ib_mnist.py
  --workdir=runs/deterministic_ib_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error       2.63 %
  S_2(Z)      3.07 nats (of at most log 256 = 5.55)
  distortion  0.082 nats

Time: 120 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(fn="ibjax.objectives.kernel.deterministic_ib:deterministic_ib", beta=0.01)
  return base.pairwise_variant(c, variant)
