"""Deep VIB on MNIST: 784-1024-1024-2x256, a Gaussian code of 256 dimensions, a linear decoder.

Paper: Alemi et al. 2017, "Deep variational information bottleneck" (arXiv:1612.00410), table 1:
1.13% test error at beta = 1e-3 with 12 codes averaged.

Command: ibjax train --config=configs/variational/vib_mnist.py --workdir=runs/vib_mnist

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  error, 12 codes averaged    1.38 ± 0.07 %    (1.33, 1.27, 1.41, 1.44, 1.43)
  error, one code             1.76 ± 0.07 %
  rate, I(X;Z) at most        34.4 ± 0.2 nats
  distortion                  0.058 ± 0.002 nats
  I(Y;Z) at least             2.243 ± 0.002 nats
  NLL of the averaged codes   0.048 ± 0.001 nats

Time: 70 to 125 s on 2 shared cores (10 epochs, 32 to 45 steps of 200 examples a second).

Arguments: `full` is the schedule of the paper's demonstration (200 epochs, batch 100), not
measured yet: about 30 minutes a seed. `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (the paper's schedule) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=256, prior="standard")
  c.bottleneck.scale_shift = -5.0
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-3)
  c.train.ema = 0.999
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
