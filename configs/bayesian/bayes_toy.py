"""Bayes by Backprop on 400 noisy moons: 2-50-50-2 with Gaussian weights, whose KL is paid once.

Paper: the fully Bayesian end of Alemi et al. 2020, "VIB is half Bayes" (arXiv:2011.08711), by the
mean field of Blundell et al. 2015 (arXiv:1505.05424). The problem is ours, so there is no
published number: two half circles, 10% of the labels swapped, so no test NLL is below 0.325 nats.

Command: ibjax train --config=configs/bayesian/bayes_toy.py --workdir=runs/bayes_toy

Expected, mean ± standard deviation over 5 seeds, of the data too (--config.seed=S
--config.data.source=toy:moons:n=400,seed=S for S = 0 to 4), as measured:
  train NLL, 32 draws averaged   0.414 ± 0.046 nats
  test NLL, 32 draws averaged    0.433 ± 0.034 nats    (0.488, 0.402, 0.438, 0.425, 0.410)
  test less train                0.019 ± 0.024 nats
  test error                     16.2 ± 3.4 %
  test ECE                       5.8 ± 2.2 %
  test Brier score               0.265 ± 0.030
  KL of the weights              154 ± 14 nats, for all 400 examples
  train loss                     0.882 ± 0.017 nats

beta = 1 is Bayes' rule; it is not tuned. The bound is loose: a network that learned nothing would
have a loss of 0.693, so the evidence bound itself would choose a narrower prior or network. On 100
examples this network underfits (test NLL 0.60 at one seed, prior_scale = 1 in both layers).

The train NLL is the row's train_split/nll_nats.

It regresses too, on --config.data.source=toy:sine:n=100,noise=0.5,seed=0, but with fewer weights:
at this width it keeps its prior and learns nothing. experiments/half_bayes has the settings, and
compares the three methods on both problems.

Time: about a minute on 2 shared cores (61 s of training beside other work).

Arguments: `full` is ten times as long, not measured yet; `smoke` is 100 steps.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (20,000 steps) or "smoke" (a second)."""
  variant = base.choose_variant(argument)
  c = base.few_examples(base.defaults())
  weights = dict(fn="ibjax.models.bayes_mlp:bayes_mlp", init_scale=0.05)
  c.encoder = dict(**weights, prior_scale=1.0, hidden=(50,), activate_out=True)
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=50)
  c.decoder = dict(**weights, prior_scale=0.3, hidden=())
  c.objective = dict(fn="ibjax.objectives.bayesian.elbo:elbo", beta=1.0)
  c.train.samples = 4
  c.eval.samples = 32
  return base.few_examples_variant(c, variant)
