"""CEB on MNIST: the network of vib_mnist.py, with one learned backward Gaussian per class.

Paper: Fischer 2020, "The conditional entropy bottleneck" (arXiv:2002.05379). It gives no number
for this network; beta is 1/gamma there. Of beta = 1, 0.1 and 0.01, 0.01 had the lowest error on
5,000 validation examples (2.12, 2.08 and 1.68%; one seed each, the command below with
--config.data.validation=5000 --config.objective.beta=...), so it is the default.

Command: ibjax train --config=configs/variational/ceb_mnist.py --workdir=runs/ceb_mnist

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  error, 12 codes averaged    1.52 ± 0.06 %    (1.42, 1.53, 1.56, 1.55, 1.54)
  error, one code             1.72 ± 0.07 %
  residual, I(X;Z|Y) at most  4.93 ± 0.06 nats
  rate, I(X;Z) at most        6.65 ± 0.05 nats
  distortion                  0.064 ± 0.002 nats
  I(Y;Z) at least             2.237 ± 0.002 nats
  NLL of the averaged codes   0.050 ± 0.002 nats

Time: 100 to 170 s on 2 shared cores (10 epochs).

Arguments: `full` is 200 epochs of batch 100, not measured yet; `smoke` is the same method on
scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=256, prior="standard")
  c.bottleneck.scale_shift = -5.0
  c.objective = dict(fn="ibjax.objectives.variational.ceb:ceb", beta=1e-2, mean_scale=1.0)
  c.train.ema = 0.999
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
