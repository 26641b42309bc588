"""Multi-view VIB with late fusion on six groups of features: a product of Gaussian experts.

Paper: Lee and van der Schaar 2021, "A variational information bottleneck approach to multi-omics
data integration" (arXiv:2102.03014), for the encoder; data and sizes are ours.

Command: ibjax train --config=configs/structured/multi_view_vib_mfeat.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run. Seed 0, as measured:
  error, 12 codes averaged    1.0 %
  error, one code             1.75 %
  rate, I(X;Z) at most        11.7 nats
  distortion                  0.105 nats

Time: 62 s on 2 shared cores.

Arguments: `full` is ten times as long, not run; `smoke` is two halves of an image of
scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (ten times as long) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "mfeat"
  c.data.batch_size = 100
  c.encoder = dict(fn="ibjax.models.per_feature_mlp:per_feature_mlp", hidden=(64,))
  c.encoder.groups = (216, 76, 64, 6, 240, 47)
  c.bottleneck = dict(fn="ibjax.bottlenecks.product_of_experts:product_of_experts", dim=16)
  c.bottleneck.experts = 6
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-2)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "60 epochs"
  c.train.log_every = "10 epochs"
  c.eval.every = "20 epochs"
  c.eval.batch_size = 400
  if variant == "full":
    c.train.duration = "600 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.encoder.groups = (32, 32)
    c.bottleneck.experts = 2
  return c
