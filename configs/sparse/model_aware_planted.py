"""Dictionaries that know the model they are for: by its loss's gradients, or end to end.

A fixed random network of 64 hidden units and 10 logits stands for the rest of the model; its
activations are planted sums of 128 directions in 64 dimensions, 4 active on average.

Paper: Olmo et al. 2025 (arXiv:2411.10397), gradient-aware TopK, the default; Braun et al. 2024
(arXiv:2405.12241), `end_to_end`: TopK whose loss is the KL between the network's outputs with and
without the splice.

Command: ibjax train --config=configs/sparse/model_aware_planted.py --workdir=runs/gradient_top_k

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not measured.

Time: not measured.

Arguments: `end_to_end`; `full` is the default on 1,000,000 rows, not run; `smoke` in seconds.
"""

from ibjax.core import config as base

FOLDER = "ibjax.bottlenecks.sparse"


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "end_to_end", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, "end_to_end"))
  c = base.defaults()
  planted = "planted:superposition:features=128,dim=64,l0=4"
  c.data.source = f"readout:gradient:{planted}"
  c.data.batch_size = 1024
  c.encoder = dict(fn="ibjax.models.identity:identity")
  c.decoder = dict(fn="ibjax.models.identity:identity")
  c.bottleneck = dict(fn=f"{FOLDER}.gradient_top_k:gradient_top_k", dim=64, latents=128, k=4)
  c.bottleneck.dead_after = 200
  c.objective = dict(fn="ibjax.objectives.sparse.dictionary:dictionary")
  c.optimizer = dict(fn="ibjax.programs.unit_rows_adam:unit_rows_adam", learning_rate=2e-3)
  c.train.duration = "100 epochs"
  c.train.log_every = "10 epochs"
  c.eval.every = "50 epochs"
  c.eval.batch_size = 4096
  c.eval.samples = 1  # nothing is sampled
  c.checkpoint.every = "100 epochs"
  if variant == "end_to_end":
    c.data.source = f"readout:logits:{planted}"
    c.decoder = dict(fn="ibjax.models.readout:readout", hidden=64, seed=0, gain=4.0)
    c.bottleneck.fn = f"{FOLDER}.top_k:top_k"
    c.objective = dict(fn="ibjax.objectives.sparse.end_to_end:end_to_end", local=0.1)
  if variant == "full":
    c.data.source += ",n=1000000"
  if variant == "smoke":
    c.data.source += ",n=4096,n_test=1024"
    c.train.duration = "20 epochs"
    c.eval.batch_size = 1024
    c.eval.every = "20 epochs"
    c.checkpoint.every = "20 epochs"
  return c
