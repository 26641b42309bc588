"""What a smaller cache of keys and values costs a character model of Shakespeare.

A decoder of 2 layers, 64 wide, 4 query heads on 2 heads of keys and values of 16, which keeps 128
numbers a token, is trained; then its cache is made smaller by conversion to latent attention, and
by nested orthogonal projections (principal components, or trained), with one rank for all heads or
with ranks found per head. Latent attention of some of these sizes is trained from scratch too.

Paper: Meng et al. 2025, "TransMLA" (arXiv:2502.07864); Lin et al. 2025, "MatryoshkaKV"
(arXiv:2410.14731). Needs IBJAX_DATA_DIR with tinyshakespeare/input.txt.

Command: ibjax train --config=configs/language/cache_compression_shakespeare.py --workdir=runs/cache

Expected, mean ± standard deviation over 2 seeds (0 and 1; over 5 seeds: not measured), nats per
character at bytes kept of a token:
  512, the decoder itself  1.893 ± 0.001
  512, latent 32+32        1.893 ± 0.001  (full rank: exact)
  448, latent 24+32        1.897 ± 0.003
  384, latent 32+16        1.897 ± 0.003
  384, latent 16+32        1.919 ± 0.001
  256, latent 16+16        1.944 ± 0.007
  256, latent 16+16        1.902 ± 0.011  (trained from scratch)
  384, nested, components 1.936 ± 0.004, with ranks searched 1.927 ± 0.001
       nested, trained    1.933 ± 0.008, with ranks searched 1.933 ± 0.008
  256, nested, components 2.095 ± 0.031, with ranks searched 2.072 ± 0.001
       nested, trained    2.029 ± 0.004, with ranks searched 2.023 ± 0.005
  128, nested, components 2.627 ± 0.045, with ranks searched 2.440 ± 0.052
       nested, trained    2.439 ± 0.007, with ranks searched 2.306 ± 0.022

Time: 4 to 6 minutes on 2 busy cores.

Arguments: `full` is the decoder of `decoder_shakespeare.py` (not measured). `smoke` is a small
decoder on walks over a state machine, in seconds.
"""

import ml_collections

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.program = "ibjax.programs.cache_compression:cache_compression"
  # Windows to calibrate on, and test windows.
  c.data = ml_collections.ConfigDict(
    dict(tasks="text:tinyshakespeare:window=64,stride=16", n=256, n_test=512)
  )
  c.training = ml_collections.ConfigDict(dict(steps=1000))
  # RANK+ROTARY of conversions, and of latent attention that is trained from scratch.
  c.latent = ml_collections.ConfigDict(dict(sizes="32+32,24+32,16+32,32+16,16+16", scratch="16+16"))
  c.nested = ml_collections.ConfigDict(
    dict(percents="75,50,25", steps=300, learning_rate=5e-3, levels=8, granularity="head")
  )
  c.recipe = base.language()
  c.recipe.decoder.update(dict(layers=2, width=64, heads=4, kv_heads=2, hidden=256))
  c.recipe.data.batch_size = 16
  c.recipe.optimizer.learning_rate = 4e-3
  c.recipe.schedule.warmup = "100 steps"
  if variant == "full":
    c.data.tasks = "text:tinyshakespeare:window=128,stride=32"
    c.training.steps = 2000
    c.recipe.data.batch_size = 32
    c.recipe.decoder.update(dict(layers=4, width=128, hidden=512))
    c.recipe.optimizer.learning_rate = 2e-3
    c.latent.update(dict(sizes="64+64,48+48,32+32,64+32", scratch="48+16,32+32"))
  if variant == "smoke":
    base.language_smoke(c.recipe)
    c.data.update(dict(tasks=c.recipe.data.source, n=16, n_test=32))
    c.training.steps = 20
    c.recipe.decoder.layers = 1
    c.latent.update(dict(sizes="8+8", scratch=""))
    c.nested.update(dict(percents="50", steps=10, levels=2))
  return c
