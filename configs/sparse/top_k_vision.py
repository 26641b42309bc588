"""A TopK dictionary of image features, two classes left out: ontology, probes, and what is outside.

The features are CIFAR-10's by a frozen EfficientNet-Lite0. Ships and trucks are not trained on.

Paper: arXiv:2508.11277 (dictionaries of vision models: ontology recovery, detection of what is
outside); Gao et al. 2024 (arXiv:2406.04093), TopK.

Command: ibjax train --config=configs/sparse/top_k_vision.py --workdir=runs/top_k_vision

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not measured.

Time: not measured.

Arguments: `full` has 4,096 latents, not run; `smoke` is digits in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more latents) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  features, width = ("digits", 64) if variant == "smoke" else ("cifar10_effl0", 1280)
  c = base.defaults()
  c.data.source = f"autoencode:classes:0-7:{features}"
  c.data.batch_size = 240
  c.data.value_range = (0.0, 1.0)  # of images: as their targets are
  c.encoder = dict(fn="ibjax.models.identity:identity")
  c.decoder = dict(fn="ibjax.models.identity:identity")
  c.bottleneck = dict(
    fn="ibjax.bottlenecks.sparse.top_k:top_k",
    dim=width,
    latents=1024,
    k=16,
    center="geometric_median",
    dead_after=100,
  )
  c.objective = dict(fn="ibjax.objectives.sparse.dictionary:dictionary", beta=0.0)
  c.optimizer = dict(fn="ibjax.programs.unit_rows_adam:unit_rows_adam", learning_rate=1e-3)
  c.train.duration = "40 epochs"
  c.train.log_every = "10 epochs"
  c.eval.every = "40 epochs"
  c.eval.batch_size = 400
  c.eval.samples = 1  # nothing is sampled
  c.checkpoint.every = "40 epochs"
  c.assess.use = dict(fn="ibjax.evaluators.dictionary_use:dictionary_use")
  c.assess.probes = dict(fn="ibjax.evaluators.sparse_probing:sparse_probing", ks=(1, 5))
  c.assess.ontology = dict(fn="ibjax.evaluators.ontology:ontology")
  c.assess.outside = dict(
    fn="ibjax.evaluators.outside_latents:outside_latents", sources=(f"classes:8-9:{features}",)
  )
  if variant == "full":
    c.bottleneck.latents = 4096
  if variant == "smoke":
    c.bottleneck.latents = 128
    c.train.duration = "10 epochs"
    c.eval.every = "10 epochs"
    c.checkpoint.every = "10 epochs"
    c.train.log_every = "1 epochs"
  return c
