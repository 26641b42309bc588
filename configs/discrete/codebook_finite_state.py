"""Codebook features on walks over a state machine: codes that stand for states, and move the model.

Paper: Tamkin, Taufeeque and Goodman 2024, "Codebook features" (arXiv:2310.17230), section 4: 100
states of 10 successors, walks of 128 tokens, 4 layers 128 wide, 1,000 codes per codebook with k = 1
at every attention head and MLP, batches of 512 walks, 20,000 steps. The default is smaller: 30
states of 3 successors, 2 layers 64 wide, 200 codes. As published, the loss is the cross-entropy
plus the codes' squared distances ("aeloss"); dead codes are revived here, in the paper they are
not.

Command: ibjax train --config=configs/discrete/codebook_finite_state.py --workdir=runs/machine

Expected on the test split, as measured of seed 0 (5 seeds, mean ± standard deviation: not
measured). Walks drawn by the model:
  transitions along an edge       87.1 % (of the first pair 94 %; by chance 10 %)
  cross-entropy                   0.642 nats a digit
Codes at the last digit of a state:
  purity of the state, in sample  MLPs 97.7 and 90.0 %, attention heads 73.4 and 80.2 %
  dead codes                      8.7 %
  mass on the wanted successors   12.3 % before, 36.3 % with the state's codes set in all layers,
                                  39.4 % with another walk's own codes there, 98.0 % in that walk
  most likely next state wanted   13 % before, 37 % after
  Jensen-Shannon divergence       0.600 nats before, 0.430 after
The purity is in sample, as measured then: codes were labelled and scored on the same 512 walks,
by which codes drawn at random score 40 % at these sizes. Now it is measured on walks that did not
label the codes (`ibjax.evaluators.state_machine.purity`); by that definition it was not measured.
Codes are set at the last digit alone. Later positions also read the first digit of the old state,
which is why the model moves in part: with states of one digit (`smoke`, 150 steps) it moved in 39
of 40 pairs; a test holds 8 of 10.

Time: 18 minutes for 1,500 steps on 2 cores that others used too.

Arguments: `full` is the paper's size, not measured (its own figures are not at hand); its walks are
200,000 drawn once, in the paper they are drawn anew for every batch. `smoke` is 10 states, seconds.
"""

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
    c.decoder.layers = 1
    c.bottleneck.update(dict(codes=16, patience=10))
    c.assess.walks.samples = 10
    c.assess.codes.update(dict(examples=64, pairs=10))
  return c
