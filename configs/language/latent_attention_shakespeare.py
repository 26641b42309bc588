"""The character model of Shakespeare with latent attention: 48 numbers kept a token and layer.

The decoder of `decoder_shakespeare.py`, whose grouped-query attention keeps 128 numbers (2 heads of
32 keys and values), with a latent of 32 and a rotary key of 16. While it trains, the spectra of
queries and keys are compared with those of noise, and the last layer is looked at (plane.npz, the
page, and "plane/..." in the row).

Paper: DeepSeek-AI 2024, "DeepSeek-V2" (arXiv:2405.04434), section 2.1; the spectra,
arXiv:2507.09394; the last layer, Godey et al. 2024 (arXiv:2404.07647). Needs IBJAX_DATA_DIR with
tinyshakespeare/input.txt.

Command: ibjax train --config=configs/language/latent_attention_shakespeare.py --workdir=runs/latent

Expected over 5 seeds (mean ± standard deviation): not measured.

Time: not measured.

Arguments: `full` is 6 layers, 384 wide, with a latent of 128 (not measured). `smoke` is a small
decoder on walks over a state machine, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.language()
  c.decoder.update(dict(layers=4, width=128, heads=4, hidden=512))
  c.decoder.update(dict(attention="latent", latent_rank=32, rotary_dim=16))
  c.plane.fn = "ibjax.programs.language_plane:language_plane"
  c.plane.points = 20
  c.plane.examples = 64
  c.plane.splits = ("test",)
  c.plane.rank_examples = 1
  c.optimizer.learning_rate = 2e-3
  c.schedule.warmup = "100 steps"
  c.train.duration = "2000 steps"
  c.train.log_every = "100 steps"
  c.eval.every = "500 steps"
  c.checkpoint.every = "500 steps"
  if variant == "full":
    c.decoder.update(dict(layers=6, width=384, heads=6, kv_heads=6, hidden=1536))
    c.decoder.update(dict(latent_rank=128, rotary_dim=32))
    c.data.source = "text:tinyshakespeare:window=256,stride=32"
    c.data.batch_size = 64
    c.train.duration = "5000 steps"
  if variant == "smoke":
    base.language_smoke(c)
    c.decoder.update(dict(latent_rank=6, rotary_dim=4))
    c.plane.points = 3
  return c
