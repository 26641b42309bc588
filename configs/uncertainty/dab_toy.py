"""Distance aware bottleneck on 20 points of a cubic: 1-100-100, 8 dimensions, 2 Gaussians.

Paper: Apostolopoulou et al. 2024, "A rate-distortion view of uncertainty quantification"
(arXiv:2406.10775), its synthetic regression: y = x^3 with noise of variance 9 at 20 inputs in
[-4, 4], dimension 8, temperature 5, beta 1. Its code draws noise of standard deviation 9; this is
3.

Command: ibjax train --config=configs/uncertainty/dab_toy.py --workdir=runs/dab_toy

Expected, mean ± standard deviation over 5 seeds (0 to 4) on the same 20 points, as measured:
  train MSE                      1.94 ± 0.20    (1.94, 2.01, 1.68, 1.82, 2.22)
  test MSE, of noise 9           13.9 ± 1.3     (13.2, 12.9, 14.3, 16.1, 13.1)
  test NLL, 12 codes averaged    3.11 ± 0.09 nats
  rate, I(X;Z) at most           3.11 ± 0.27 nats

Time: under a minute on 2 cores.

Arguments: `full` is ten times as long, not measured; `smoke` is 100 steps.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (20,000 steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.few_examples(base.defaults(), n=20)
  c.data.source = "toy:cubic:n=20,seed=0"
  c.encoder.hidden = (100, 100)
  c.bottleneck = dict(fn="ibjax.bottlenecks.distance_aware:distance_aware", dim=8, components=2)
  c.bottleneck.temperature = 5.0
  c.bottleneck.covariance = "full"
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1.0)
  c.train.samples = 4
  return base.few_examples_variant(c, variant)
