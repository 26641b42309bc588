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
  c = base.defaults()
  c.data.batch_size = 256
  c.encoder.hidden = (256, 256)
  c.bottleneck.dim = 32
  c.objective = dict(fn="ibjax.objectives.kernel.hsic_bottleneck:hsic_bottleneck", beta=100.0)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "5 epochs"
  c.eval.batch_size = 256  # of all pairs; what depends on the batch's size is of one size
  c.eval.samples = 1
  c.train.probe = True
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.train.duration = "10 epochs"  # the probe needs some
    c.eval.batch_size = 64
    c.bottleneck.dim = 8
  return c
