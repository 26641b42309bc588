"""CEB on MNIST."""

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
