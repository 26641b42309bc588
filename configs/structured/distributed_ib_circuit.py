"""Distributed bottleneck on the truth table of a Boolean circuit: one encoder a bit, beta raised.

Paper: Murphy and Bassett 2022, "The distributed information bottleneck reveals the explanatory
structure of complex systems" (arXiv:2204.07576), which treats a circuit of ten inputs; this
circuit is another one (see `ibjax/data/sources/circuit.py`).

Command: ibjax train --config=configs/structured/distributed_ib_circuit.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run.

Time: not measured.

Arguments: `full` is ten times as long, not run; `smoke` is 200 steps.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (ten times as long) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "circuit"
  c.data.batch_size = 256
  c.encoder = dict(fn="ibjax.models.per_feature_mlp:per_feature_mlp", groups=(), hidden=(32,))
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=20, prior="standard")
  c.decoder.hidden = (64, 64)
  c.objective = dict(fn="ibjax.objectives.structured.distributed_ib:distributed_ib")
  c.objective.beta = 0.5
  c.objective.features = 10
  # Beta rises from 0.0005 to 0.5, so that each line of metrics.jsonl is a point of the curve.
  c.beta_schedule = dict(fn="ibjax.core.schedules:linear", initial=1e-3, final=1.0)
  c.optimizer.learning_rate = 2e-3
  c.schedule.fn = "ibjax.core.schedules:constant"
  c.train.duration = "6000 steps"
  c.train.steps_per_dispatch = 200
  c.train.log_every = "200 steps"
  c.eval.every = "1000 steps"
  c.eval.samples = 4
  if variant == "full":
    c.train.duration = "60000 steps"
  if variant == "smoke":
    c.train.duration = "200 steps"
    c.train.steps_per_dispatch = 100
    c.objective.beta = 0.01  # at the end of the curve all is forgotten
  return c
