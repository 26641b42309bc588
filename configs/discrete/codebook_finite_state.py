"""x"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (the paper's size) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.language()
  c.data.source = "finite_state:states=30,successors=3,window=32,n=20000,n_test=1024"
  c.data.batch_size = 64
  c.decoder.update(dict(layers=2, width=64, heads=4, kv_heads=4, hidden=256, norm="layer"))
  c.sites = ("block_*/attention/heads", "block_*/mlp")
  c.bottleneck = dict(fn="ibjax.bottlenecks.codebook_features:codebook_features")
  c.bottleneck.update(dict(codes=200, k=1, patience=100))
  c.objective = dict(fn="ibjax.objectives.wrappers.quantised:quantised")
  c.objective.update(dict(commitment=0.0, codebook=1.0))
  c.optimizer = dict(fn="optax:adam", learning_rate=2e-3)
  c.train.duration = "1500 steps"
  c.train.log_every = "150 steps"
  c.eval.every = "750 steps"
  c.checkpoint.every = "750 steps"
  c.assess.walks = dict(fn="ibjax.evaluators.state_machine:transitions")
  c.assess.codes = dict(fn="ibjax.evaluators.state_machine:state_codes", place=4)
  if variant == "full":
    c.data.source = "finite_state:n=200000"
    c.data.batch_size = 512
    c.decoder.update(dict(layers=4, width=128, hidden=512))
    c.bottleneck.update(dict(codes=1000, patience=0))
    c.optimizer = dict(fn="optax:adamw", learning_rate=1e-3, weight_decay=0.0)
    c.schedule = dict(fn="ibjax.core.schedules:constant")
    c.train.duration = "20000 steps"
  if variant == "smoke":
    base.language_smoke(c)
    c.bottleneck.update(dict(codes=16, patience=10))
    c.assess.walks.samples = 10
    c.assess.codes.update(dict(examples=64, pairs=10))
  return c
