"""Any objective, on a bounded code with noise of a fixed size, on the network all are compared on.

Paper: none; the comparison is this project's own (experiments/equal_rate). VIB at
beta = 0, which is cross-entropy, is the default; an override of config.objective.fn puts another
objective in its place.

Command: ibjax train --config=configs/comparison/fixed_noise_mnist.py --workdir=runs/fixed_noise \
  --config.objective.fn=ibjax.objectives.kernel.hsic_regularizer:hsic_regularizer

Expected on the test split: see experiments/equal_rate, which has mean and interval over its seeds
(3, not the usual 5 seeds) for each objective and beta, as measured; no ± is claimed here.

Time: about 10 s on 2 cores (2 epochs). It needs Kuzushiji-MNIST's test digits as the outside set
(`ibjax data list`).

Arguments: `full` is 200 epochs of batch 100, not measured; `smoke` is the same method on
scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.compared(base.defaults())
  c.bottleneck = dict(fn="ibjax.bottlenecks.bounded_gaussian:bounded_gaussian", dim=16, scale=0.5)
  # At beta = 0 nothing but the noise limits the code.
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=0.0)
  return base.compared_variant(c, variant)
