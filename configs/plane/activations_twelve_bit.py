"""Compression across activations, with estimators that adapt to them, on the twelve-bit task.

Paper: Chelombiev, Houghton and O'Donnell 2019 (arXiv:1902.09037): a network 12-5-5-5-5-5-2,
entropy-based adaptive binning and adaptive kernel density estimation, with and without L2.

Command: ibjax train --config=configs/plane/activations_twelve_bit.py --workdir=runs/activations

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  error                       9.3 ± 0.9 %    (9.3, 9.5, 7.9, 9.3, 10.4)
  training error              7.7 ± 0.7 %
  compression of I(X;T)       0.1 ± 0.3 bits by EBAB, 0.4 ± 0.6 by aKDE, last hidden layer

Options: --config.encoder.activation=tanh (with --config.encoder.gain=1.0), softplus, elu or swish;
--config.optimizer.l2=0.015.

Time: 5 s a run as one of 20 on 2 shared cores (6,000 steps).

Arguments: `full` is ten times as long; `smoke` is the same in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (60,000 steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "twelve_bit"
  c.data.batch_size = 256
  c.encoder = dict(fn="ibjax.models.scaled_mlp:scaled_mlp", hidden=(5, 5, 5, 5), gain=2.0)
  c.encoder.activation = "relu"
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=5)
  c.decoder = dict(fn="ibjax.models.scaled_mlp:scaled_mlp", hidden=(), gain=2.0)
  c.optimizer = dict(fn="ibjax.programs.penalized_adam:penalized_adam", learning_rate=1e-3, l2=0.0)
  c.schedule = dict(fn="ibjax.core.schedules:constant")
  c.train.duration = "6000 steps"
  c.train.steps_per_dispatch = 1000
  c.train.log_every = "1000 steps"
  c.eval.every = "3000 steps"
  c.eval.batch_size = 4096
  c.eval.samples = 1  # nothing is sampled
  c.eval.train = True
  c.checkpoint.every = "2000 steps"
  c.plane.fn = "ibjax.programs.plane:plane"
  c.plane.points = 12
  c.plane.layers = ("encoder/dense_[1-9].in", "bottleneck.out")
  c.plane.estimators.ebab = dict(
    fn="ibjax.estimators.binning.adaptive_bins:adaptive_bins", count=30
  )
  c.plane.estimators.akde = dict(
    fn="ibjax.estimators.kernel.adaptive_kde:adaptive_kde", examples=1024, devices=1
  )
  if variant == "full":
    c.train.duration = "60000 steps"
    c.eval.every = "30000 steps"
  if variant == "smoke":
    c.train.duration = "60 steps"
    c.train.steps_per_dispatch = 20
    c.train.log_every = "20 steps"
    c.eval.every = "30 steps"
    c.checkpoint.every = "30 steps"
    c.plane.points = 3
  return c
