"""A character model of Shakespeare: a decoder of 2 layers, 128 wide, windows of 128 characters.

Paper: none; the data are Karpathy's tiny Shakespeare (2015), 1,115,394 characters of 65 kinds, the
last tenth of which is the test split. Needs IBJAX_DATA_DIR with tinyshakespeare/input.txt.

Command: ibjax train --config=configs/language/decoder_shakespeare.py --workdir=runs/shakespeare

Expected on the test split, each character once, as measured of seed 0 (5 seeds, mean ± standard
deviation: not measured):
  cross-entropy    1.616 nats a character (2.331 bits)
  error            47.9 %
  I(Y;Z) at least  1.693 nats: what the context says of the next character

Time: 31 minutes for 2,000 steps on 2 cores that others used too (1.1 steps of 16 windows a second;
2.3 a second where they were free).

Arguments: `full` is 6 layers, 384 wide, windows of 256 (not measured). `smoke` is a small decoder
on walks over a state machine, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.language()
  c.decoder.update(dict(layers=2, width=128, heads=4, kv_heads=4, hidden=512))
  c.data.batch_size = 16
  c.optimizer.learning_rate = 3e-3
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
