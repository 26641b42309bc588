"""The information plane of a tanh network 12-10-7-5-4-3-2 on the twelve-bit task.

Paper: Shwartz-Ziv and Tishby 2017 (arXiv:1703.00810), figures 2 and 3; with
--config.encoder.activation=relu --config.encoder.fan=fan_out, Saxe et al. 2018, figure 1.

Command: ibjax train --config=configs/plane/tanh_twelve_bit.py --workdir=runs/tanh_twelve_bit

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  error                       3.1 ± 1.4 %    (2.7, 5.5, 2.7, 3.1, 1.7)
  training error              1.5 ± 0.7 %
  compression of I(X;T)       3.3 ± 2.4 bits for the 3 units, 2.5 ± 0.2 for the prediction

Time: 10 s a run as one of 50 on 2 shared cores (10,000 steps).

Arguments: `full` is five times as long; `smoke` is the same in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (50,000 steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "twelve_bit"
  c.data.batch_size = 512
  c.encoder = dict(fn="ibjax.models.scaled_mlp:scaled_mlp", hidden=(10, 7, 5, 4), gain=1.0)
  c.encoder.activation = "tanh"
  c.encoder.activate_out = True
  c.encoder.fan = "fan_in"
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=3)
  c.decoder = dict(fn="ibjax.models.scaled_mlp:scaled_mlp", hidden=(), gain=1.0)
  # Two and a half times the rate of the programs published with the papers, for fewer steps.
  c.optimizer.learning_rate = 1e-3
  c.schedule = dict(fn="ibjax.core.schedules:constant")
  c.train.duration = "10000 steps"
  c.train.steps_per_dispatch = 1000
  c.train.log_every = "1000 steps"
  c.eval.every = "5000 steps"
  c.eval.batch_size = 4096
  c.eval.samples = 1  # nothing is sampled
  c.eval.train = True
  c.checkpoint.every = "5000 steps"
  c.plane.fn = "ibjax.programs.plane:plane"
  c.plane.points = 30
  c.plane.layers = ("encoder/dense_[1-9].in", "bottleneck.out", "prediction")
  c.plane.estimators.binned = dict(fn="ibjax.estimators.binning.fixed_bins:fixed_bins", edges=30)
  c.plane.estimators.width = dict(fn="ibjax.estimators.binning.fixed_bins:fixed_bins", width=0.07)
  c.plane.gradient_batches = 6
  if variant == "full":
    c.train.duration = "50000 steps"
    c.eval.every = "25000 steps"
  if variant == "smoke":
    c.train.duration = "60 steps"
    c.train.steps_per_dispatch = 20
    c.train.log_every = "20 steps"
    c.eval.every = "30 steps"
    c.checkpoint.every = "30 steps"
    c.plane.points = 4
  return c
