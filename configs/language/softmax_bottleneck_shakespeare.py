"""What narrow decoders lose by their last layer, on Shakespeare's characters.

Decoders of one layer and widths from 4 to 64 are trained; ranks, anisotropy and singular entropy of
their last layers, the loss of heads of limited rank on the widest one's states, and basis-aware
truncation of the narrowest one's distributions are measured. There are 65 characters, so that all
but the widest are bottlenecks.

Paper: Godey et al. 2024, "Why do small language models underperform?" (arXiv:2404.07647); Finlayson
et al. 2024, "Closing the curious case of neural text degeneration" (arXiv:2310.01693). Needs
IBJAX_DATA_DIR with tinyshakespeare/input.txt.

Command: ibjax train --config=configs/language/softmax_bottleneck_shakespeare.py \\
  --workdir=runs/softmax_bottleneck

Expected, as measured with seed 0 alone, nats per character (mean ± standard deviation over
5 seeds: not measured):
  width  test   excess  lost   anisotropy  singular entropy  ranks of logits, log probabilities
      4  2.807  +0.120   0.000  0.54        0.027             4, 5
      8  2.568  +0.069   0.000  0.37        0.059             8, 9
     16  2.323  -0.001   0.000  0.28        0.064             16, 17
     32  2.165  +0.003   0.000  0.25        0.097             32, 33
     64  2.010  -0.001   0.000  0.20        0.249             63, 61
  heads of a rank on the widest one's states, on 4,096 training characters: 2.628 (2),
  2.265 (4), 1.961 (8), 1.735 (16), 1.617 (32), 1.590 (64)
  truncation at width 4: keeps 1.2 tokens with 30% of the probability, a threshold 9%; in
  12% of contexts it keeps a token less likely than one that it does not keep
No width gets worse towards the end: 1,000 steps are too few to see degeneration, which the paper
finds late in long trainings. The excess is over the law of the three widest.

Time: 4 to 6 minutes on 2 busy cores.

Arguments: `full` has 4 layers, widths up to 128 and 4,000 steps (not measured). `smoke` is two
narrow decoders on walks over a state machine, in seconds.
"""

import ml_collections

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.program = "ibjax.programs.softmax_bottleneck:softmax_bottleneck"
  c.data = ml_collections.ConfigDict(
    dict(tasks="text:tinyshakespeare:window=64,stride=16", n_test=512)
  )
  c.training = ml_collections.ConfigDict(dict(steps=1000, points=10, widths="4,8,16,32,64"))
  c.head = ml_collections.ConfigDict(dict(ranks="2,4,8,16,32,64", steps=300))
  c.truncation = ml_collections.ConfigDict(dict(n=40, delta=0.5))
  c.recipe = base.language()
  c.recipe.decoder.update(dict(layers=1, heads=2, kv_heads=2, tied=False))
  c.recipe.data.batch_size = 16
  c.recipe.optimizer.learning_rate = 4e-3
  c.recipe.schedule.warmup = "100 steps"
  if variant == "full":
    c.training.update(dict(steps=4000, widths="4,8,16,32,64,128"))
    c.recipe.decoder.layers = 4
    c.recipe.data.batch_size = 32
  if variant == "smoke":
    base.language_smoke(c.recipe)
    c.recipe.decoder.update(dict(layers=1, heads=1, kv_heads=1, tied=False))
    c.data.update(dict(tasks=c.recipe.data.source, n_test=32))
    c.training.update(dict(steps=20, points=2, widths="4"))
    c.head.update(dict(ranks="2", steps=10))
    c.truncation.n = 2
  return c
