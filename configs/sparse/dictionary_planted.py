"""Sparse autoencoders on planted directions: 128 of them in 64 dimensions, 4 active on average.

One recipe for the variants that take such activations as they are; the argument names one of
`VARIANTS`, TopK where it is left out. For each the target is 4 active latents, by a budget or by
a price (beta) chosen for it.

Paper: Gao et al. 2024 (arXiv:2406.04093), TopK; the others are named in their bottleneck's file.

Command: ibjax train --config=configs/sparse/dictionary_planted.py --workdir=runs/top_k
(`...dictionary_planted.py:batch_top_k` for another variant)

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not measured.

Time: not measured.

Arguments: the variants; `full` is TopK on 1,000,000 rows, not run; `smoke` is TopK in seconds.
"""

from ibjax.core import config as base

FOLDER = "ibjax.bottlenecks.sparse"
# Name -> keywords of the bottleneck, and the price of activity.
VARIANTS = {
  "top_k": (dict(k=4), 0.0),
  "batch_top_k": (dict(k=4.0), 0.0),
  "relu_l1": (dict(), 0.1),
  "jump_relu": (dict(), 0.02),
  "gated": (dict(), 0.1),
  "matryoshka": (dict(k=4.0, groups=(16, 16, 32, 64)), 0.0),
  "mutual_choice": (dict(k=4.0), 0.0),
  "feature_choice": (dict(k=4.0), 0.0),
  "matching_pursuit": (dict(k=4), 0.0),
}


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", a variant, "full" (more data) or "smoke" (seconds)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *VARIANTS))
  name = variant if variant in VARIANTS else "top_k"
  keywords, beta = VARIANTS[name]
  c = base.defaults()
  c.data.source = "autoencode:planted:superposition:features=128,dim=64,l0=4"
  c.data.batch_size = 1024
  c.encoder = dict(fn="ibjax.models.identity:identity")
  c.decoder = dict(fn="ibjax.models.identity:identity")
  c.bottleneck = dict(fn=f"{FOLDER}.{name}:{name}", dim=64, latents=128, dead_after=200, **keywords)
  c.objective = dict(fn="ibjax.objectives.sparse.dictionary:dictionary", beta=beta)
  c.optimizer = dict(fn="ibjax.programs.unit_rows_adam:unit_rows_adam", learning_rate=2e-3)
  if beta:
    c.beta_schedule = dict(fn="ibjax.core.schedules:constant", warmup="10 epochs")
  c.train.duration = "100 epochs"
  c.train.log_every = "10 epochs"
  c.eval.every = "50 epochs"
  c.eval.batch_size = 4096
  c.eval.samples = 1  # nothing is sampled
  c.checkpoint.every = "100 epochs"
  c.assess.use = dict(fn="ibjax.evaluators.dictionary_use:dictionary_use")
  c.assess.recovery = dict(fn="ibjax.evaluators.feature_recovery:feature_recovery")
  if variant == "full":
    c.data.source += ",n=1000000"
  if variant == "smoke":
    c.data.source = "autoencode:planted:superposition:features=128,dim=64,l0=4,n=4096,n_test=1024"
    c.train.duration = "20 epochs"
    c.eval.batch_size = 1024
    c.eval.every = "20 epochs"
    c.checkpoint.every = "20 epochs"
  return c
