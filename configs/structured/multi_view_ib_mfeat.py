"""Multi-view bottleneck without labels: random subsets of six groups of features, a linear probe.

Paper: Federici et al. 2020, "Learning robust representations via multi-view information
bottleneck" (arXiv:2002.07017), on other data: each view keeps every group of features with
probability 1/2.

Command: ibjax train --config=configs/structured/multi_view_ib_mfeat.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run.

Time: not measured.

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
  c.encoder.hidden = (256,)
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=16, scale_shift=-3.0)
  c.objective = dict(fn="ibjax.objectives.structured.multi_view_ib:multi_view_ib", beta=1e-2)
  c.views = dict(fn="ibjax.views.feature_groups:feature_groups", count=2, keep=0.5)
  c.views.groups = (216, 76, 64, 6, 240, 47)
  c.train.probe = True
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "100 epochs"
  c.train.log_every = "10 epochs"
  c.eval.every = "20 epochs"
  c.eval.batch_size = 400
  if variant == "full":
    c.train.duration = "1000 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.views.groups = (32, 32)
    c.train.duration = "10 epochs"  # the probe needs some
  return c
