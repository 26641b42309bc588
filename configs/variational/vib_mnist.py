"""VIB on MNIST."""

from ibjax.core import config as base


def get_config(argument: str = ""):
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=256, prior="standard")
  c.bottleneck.scale_shift = -5.0
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-3)
  c.train.ema = 0.999
  if variant == "full":  # the paper's demonstration: Adam 1e-4, b1 = 0.5, x 0.97 every 2 epochs
    c.data.batch_size = 100
    c.optimizer = dict(fn="optax:adam", learning_rate=1e-4, b1=0.5)
    c.schedule = dict(fn="ibjax.core.schedules:staircase", decay=0.97, every="2 epochs")
    c.train.duration = "200 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
