"""Cauchy-Schwarz IB on MNIST: divergences between examples for labels as one-hot vectors.

Paper: Yu et al. 2024, "Cauchy-Schwarz divergence information bottleneck for regression" (ICLR 2024,
arXiv:2404.17951). The paper has regression only; labels are one-hot targets here.

Command: ibjax train --config=configs/kernel/cauchy_schwarz_ib_mnist.py
  --workdir=runs/cauchy_schwarz_ib_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error                     3.23 %
  divergence of predictions 0.032 nats
  dependence on the input   1.03 (ratio)
  distortion                0.113 nats

Time: 105 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(fn="ibjax.objectives.kernel.cauchy_schwarz_ib:cauchy_schwarz_ib", beta=0.01)
  return base.pairwise_variant(c, variant)
