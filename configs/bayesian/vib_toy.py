"""TODO"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (30,000 steps) or "smoke" (a second)."""
  variant = base.choose_variant(argument)
  c = base.few_examples(base.defaults())
  # The code takes the place of the second hidden layer.
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=50, prior="standard")
  c.bottleneck.scale_shift = -5.0
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=0.1)
  c.train.samples = 8
  c.eval.samples = 32
  if variant == "full":
    c.train.duration = "30000 steps"
    c.eval.every = "10000 steps"
    c.checkpoint.every = "10000 steps"
  if variant == "smoke":
    c.train.duration = "100 steps"
    c.train.steps_per_dispatch = 50
    c.train.log_every = "50 steps"
    c.eval.samples = min(c.eval.samples, 4)
  return c
