"""Cross-entropy with a price on HSIC(X;Z) on MNIST: a deterministic code of 32 dimensions.

Paper: Wang et al. 2021, "Revisiting Hilbert-Schmidt information bottleneck for adversarial
robustness" (arXiv:2106.02734).

Command: ibjax train --config=configs/kernel/hsic_regularizer_mnist.py
  --workdir=runs/hsic_regularizer_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error       2.35 %
  nHSIC(X;Z)  10.99
  nHSIC(Y;Z)  8.21 (of at most 9)
  distortion  0.084 nats

Time: 120 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(
    fn="ibjax.objectives.kernel.hsic_regularizer:hsic_regularizer", beta=0.01, gamma=0.05
  )
  return base.pairwise_variant(c, variant)
