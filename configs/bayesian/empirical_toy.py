"""TODO"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (30,000 steps) or "smoke" (a second)."""
  variant = base.choose_variant(argument)
  c = base.few_examples(base.defaults())
  # The second hidden layer is the code, so the decoder is the network's last layer.
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=50)
  c.objective = dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy")
  c.eval.samples = 1  # nothing is sampled
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
