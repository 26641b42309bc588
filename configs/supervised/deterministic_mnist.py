"""Deterministic baseline on MNIST: 784-1024-1024-10, no bottleneck.

Options: dropout --config.encoder.dropout=0.2, label smoothing
--config.objective.label_smoothing=0.1, confidence penalty
--config.objective.confidence_penalty=0.1.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  # The second hidden layer is the code, so the decoder is the network's last layer.
  c.encoder.hidden = (1024,)
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=1024)
  c.objective.label_smoothing = 0.0
  c.objective.confidence_penalty = 0.0
  c.eval.samples = 1  # nothing is sampled
  c.train.ema = 0.999
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 32
    c.eval.samples = 1
  return c
