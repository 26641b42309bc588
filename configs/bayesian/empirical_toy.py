"""Maximum likelihood on 400 noisy moons: 2-50-50-2, nothing is paid for. It overfits.

Paper: the fully empirical end of Alemi et al. 2020, "VIB is half Bayes" (arXiv:2011.08711).
The problem is ours, so there is no published number: two half circles, 10% of the labels swapped,
so no test NLL is below 0.325 nats.

Command: ibjax train --config=configs/bayesian/empirical_toy.py --workdir=runs/empirical_toy

Expected, mean ± standard deviation over 5 seeds, of the data too (--config.seed=S
--config.data.source=toy:moons:n=400,seed=S for S = 0 to 4), as measured:
  train NLL                   0.150 ± 0.023 nats
  test NLL                    1.12 ± 0.16 nats    (0.94, 1.01, 1.08, 1.25, 1.32)
  test less train             0.97 ± 0.17 nats
  test error                  18.7 ± 0.9 %
  test ECE                    11.7 ± 0.9 %
  test Brier score            0.321 ± 0.012

The train NLL is the row's train_split/nll_nats. bayes_toy.py and vib_toy.py pay for their latents.

The same recipe regresses: --config.data.source=toy:sine:n=100,noise=0.5,seed=0 with
--config.data.batch_size=100. experiments/half_bayes compares the three on both problems.

Time: under a minute on 2 shared cores, the compilation included.

Arguments: `full` is ten times as long, not measured yet; `smoke` is 100 steps.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (20,000 steps) or "smoke" (a second)."""
  variant = base.choose_variant(argument)
  c = base.few_examples(base.defaults())
  # The second hidden layer is the code, so the decoder is the network's last layer.
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=50)
  c.objective = dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy")
  c.eval.samples = 1  # nothing is sampled
  return base.few_examples_variant(c, variant)
