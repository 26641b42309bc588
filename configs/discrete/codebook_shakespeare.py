"""Codebook features in a character model of Shakespeare: codes, what fires them, what they steer.

Paper: Tamkin, Taufeeque and Goodman 2024, "Codebook features" (arXiv:2310.17230), section 5, with
Pythia 70M and 10,000 codes of which k = 8 are summed; here a decoder of 2 layers, 128 wide, and 256
codes of which 4 are averaged, at every attention head and MLP. Needs IBJAX_DATA_DIR with
tinyshakespeare/input.txt. The page of the run has a table of codes with the contexts that fire them
and samples steered by them.

Command: ibjax train --config=configs/discrete/codebook_shakespeare.py --workdir=runs/codes \
  --config.warm_start=shakespeare
where runs/shakespeare is a finished run of configs/language/decoder_shakespeare.py; without
warm_start it trains from scratch, which takes ten times the steps.
The command without it: ibjax train --config=configs/discrete/codebook_shakespeare.py

Expected on the test split, as measured of seed 0, started from the decoder (5 seeds, mean ±
standard deviation: not measured; 200 steps are a start, the paper fine-tunes for 15,000):
  cross-entropy           2.015 nats a character, 2.91 bits (the decoder without codebooks: 1.616)
  dead codes              0.5 %; 98 % of the codes are used in a batch
  purity of the character at which codes fire, and of the next, in sample  47.7 % and 25.8 %
  Jensen-Shannon divergence of the next character where one shown code is set, from where it fires
  by itself               0.161 nats before, 0.148 after
The purity is in sample, as measured then: codes were labelled and scored on the same windows. It is
now measured on the half of the windows that did not label them
(`ibjax.evaluators.state_machine.purity`); by that definition it was not measured.
Of the 24 codes shown, 15 fire at one character at least 93% of the time: a blank, a line's end,
"u", "r". One code of the 4 of one layer, set alone, moves the model little. From normal codes, 300
steps: 2.098 nats, 0.113 and 0.101 of divergence (of the most frequent codes).

Time: 5 minutes for 200 steps on 2 cores that others used too, 2 for evaluation and table.

Arguments: `full` is 6 layers, 384 wide, 2,000 codes, k = 8 (not measured). `smoke` is a small
decoder on walks over a state machine, in seconds.
"""

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
  c.bottleneck.update(dict(codes=256, k=4, start="data", patience=50))
  c.objective = dict(fn="ibjax.objectives.wrappers.quantised:quantised")
  c.objective.update(dict(commitment=0.0, codebook=1.0))
  c.optimizer = dict(fn="optax:adam", learning_rate=2e-3)
  c.train.duration = "200 steps"
  c.train.steps_per_dispatch = 25
  c.train.log_every = "50 steps"
  c.eval.every = "200 steps"
  c.checkpoint.every = "200 steps"
  c.assess.codes = dict(fn="ibjax.evaluators.code_table:code_table", rows=24, windows=64)
  if variant == "full":
    c.decoder.update(dict(layers=6, width=384, heads=6, kv_heads=6, hidden=1536))
    c.data.source = "text:tinyshakespeare:window=256,stride=32"
    c.data.batch_size = 64
    c.bottleneck.update(dict(codes=2000, k=8))
    c.train.duration = "5000 steps"
  if variant == "smoke":
    base.language_smoke(c)
    c.decoder.layers = 1
    c.bottleneck.update(dict(codes=16, k=2, patience=10))
    c.assess.codes.update(dict(rows=4, windows=16, length=40))
  return c
