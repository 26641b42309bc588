"""x"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.language()
  c.decoder.update(dict(layers=4, width=128, heads=4, kv_heads=2, hidden=512))
  c.optimizer.learning_rate = 2e-3
  c.schedule.warmup = "100 steps"
  c.train.duration = "2000 steps"
  c.train.log_every = "100 steps"
  c.eval.every = "500 steps"
  c.checkpoint.every = "500 steps"
  if variant == "full":
    c.decoder.update(dict(layers=6, width=384, heads=6, kv_heads=6, hidden=1536))
    c.data.source = "text:tinyshakespeare:window=256,stride=32"
    c.data.batch_size = 64
    c.train.duration = "5000 steps"
  if variant == "smoke":
    base.language_smoke(c)
  return c
