"""x"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.language()
  c.data.source = "text:tinyshakespeare:window=128,stride=32"
  c.data.batch_size = 16
  c.decoder.update(dict(layers=2, width=128, heads=4, kv_heads=4, hidden=512))
  c.sites = ("block_*/attention/heads", "block_*/mlp")
  c.bottleneck = dict(fn="ibjax.bottlenecks.codebook_features:codebook_features")
  c.bottleneck.update(dict(codes=256, k=4, patience=50))
  c.objective = dict(fn="ibjax.objectives.wrappers.quantised:quantised")
  c.objective.update(dict(commitment=0.0, codebook=1.0))
  c.optimizer = dict(fn="optax:adam", learning_rate=2e-3)
  c.train.duration = "300 steps"
  c.train.steps_per_dispatch = 25
  c.train.log_every = "50 steps"
  c.eval.every = "300 steps"
  c.checkpoint.every = "300 steps"
  c.assess.codes = dict(fn="ibjax.evaluators.code_table:code_table", rows=24, windows=96)
  if variant == "full":
    c.decoder.update(dict(layers=6, width=384, heads=6, kv_heads=6, hidden=1536))
    c.data.source = "text:tinyshakespeare:window=256,stride=32"
    c.data.batch_size = 64
    c.bottleneck.update(dict(codes=2000, k=8))
    c.train.duration = "5000 steps"
  if variant == "smoke":
    base.language_smoke(c)
    c.bottleneck.update(dict(codes=16, k=2, patience=10))
    c.assess.codes.update(dict(rows=4, windows=16, length=40))
  return c
