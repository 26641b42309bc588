"""A TopK dictionary of a layer's activations, here of a small transformer on Tiny Shakespeare.

Any run's layer will do; for another, name its store and set bottleneck.dim to its width.

Paper: Gao et al. 2024 (arXiv:2406.04093).

Command, after the transformer and its activations are made:

    ibjax train --config=configs/language/decoder_shakespeare.py --workdir=runs/small_lm \
      --config.decoder.layers=2 --config.decoder.width=64 --config.decoder.heads=4 \
      --config.decoder.kv_heads=2 \
      --config.decoder.hidden=256 --config.data.source=text:tinyshakespeare:window=64 \
      --config.train.duration="600 steps" --config.eval.every="600 steps" \
      --config.checkpoint.every="600 steps"
    ibjax data activations runs/small_lm --layer=block_0.out --out=runs/small_lm_block_0 \
      --examples=3000
    ibjax train --config=configs/sparse/top_k_activations.py:spliced --workdir=runs/top_k
    ibjax features runs/top_k

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not measured; other
sizes are in experiments/sparse_scaling.

Time: not measured.

Arguments: `spliced` also measures what the model loses with the reconstruction in place of its
layer, for a store that `ibjax data activations` wrote; `full` has 4,096 latents, not run; `smoke`
is planted directions in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "spliced", "full" (more latents) or "smoke" (seconds)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, "spliced"))
  c = base.defaults()
  c.data.source = "autoencode:activations:runs/small_lm_block_0"
  c.data.batch_size = 1024
  c.encoder = dict(fn="ibjax.models.identity:identity")
  c.decoder = dict(fn="ibjax.models.identity:identity")
  c.bottleneck = dict(
    fn="ibjax.bottlenecks.sparse.top_k:top_k",
    dim=64,
    latents=512,
    k=16,
    keep=16.0,  # of the k; traced, so that runs over it are one program
    center="geometric_median",
    dead_after=200,
  )
  c.objective = dict(fn="ibjax.objectives.sparse.dictionary:dictionary", beta=0.0)
  c.optimizer = dict(fn="ibjax.programs.unit_rows_adam:unit_rows_adam", learning_rate=1e-3)
  c.train.duration = "10 epochs"
  c.train.log_every = "1 epochs"
  c.eval.every = "10 epochs"
  c.eval.batch_size = 2048
  c.eval.samples = 1  # nothing is sampled
  c.checkpoint.every = "10 epochs"
  c.assess.use = dict(fn="ibjax.evaluators.dictionary_use:dictionary_use")
  if variant == "full":
    c.bottleneck.latents = 4096
  if variant == "smoke":
    c.data.source = "autoencode:planted:superposition:features=128,dim=64,n=4096,n_test=1024"
    c.train.duration = "5 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "spliced":
    c.assess.spliced = dict(fn="ibjax.evaluators.loss_recovered:loss_recovered")
  return c
