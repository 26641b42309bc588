"""HSIC bottleneck on MNIST: an encoder without cross-entropy, a linear decoder as a probe.

Paper: Ma, Lewis and Kleijn 2020, "The HSIC bottleneck: deep learning without back-propagation"
(AAAI 2020, arXiv:1908.01580). There each layer has the loss; here the code alone has it.

Command: ibjax train --config=configs/kernel/hsic_bottleneck_mnist.py
  --workdir=runs/hsic_bottleneck_mnist

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error of the probe  10.84 %
  nHSIC(X;Z)          81.3
  nHSIC(Y;Z)          8.91 (of at most 9)
  distortion          0.367 nats

Time: 90 s on 2 busy cores (1170 steps).

Arguments: `full` is 100 epochs, not measured; `smoke` is the same method on scikit-learn's
digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.pairwise(base.defaults())
  c.objective = dict(fn="ibjax.objectives.kernel.hsic_bottleneck:hsic_bottleneck", beta=100.0)
  c.train.probe = True
  base.pairwise_variant(c, variant)
  if variant == "smoke":
    c.train.duration = "10 epochs"  # the probe needs some
  return c
