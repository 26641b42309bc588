"""VIB where the exact answer is known: a small table p(x, y), one-hot x, every step on all of it.

Paper: Alemi et al. 2017, "Deep variational information bottleneck" (arXiv:1612.00410), on a table
of 8 by 4 whose exact curve `ibjax.exact.discrete_ib` solves. The training split has every pair as
often as the table says, so there is no sampling error, and `ibjax.evaluators.exact_plane` measures
the true I(X;Z) and I(Y;Z) of the trained encoder: what is left is what the objective itself loses.

Command: ibjax train --config=configs/variational/vib_discrete.py --workdir=runs/vib_discrete

Expected, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  true I(X;Z)                         1.154 ± 0.009 nats
  true I(Y;Z)                         0.531 ± 0.003 nats
  exact curve at that I(X;Z), less    0.0095 ± 0.0007 nats
  Lagrangian less its exact minimum   0.0095 ± 0.0007 nats
  rate, I(X;Z) at most                1.156 ± 0.014 nats

`experiments/exactness` has other betas, tables and objectives.

Time: 15 s on 2 busy cores, of which 3 s are updates.

Arguments: `full` is five times as long, not measured; `smoke` is 100 steps.
"""

from ibjax.core import config as base

ROWS = 200


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (5 times as long) or "smoke" (a second)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = f"discrete:table:kx=8,ky=4,concentration=0.3,seed=1,rows={ROWS}"
  c.data.batch_size = ROWS
  c.encoder.hidden = (64,)
  c.encoder.activation = "tanh"
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=4, prior="mixture")
  c.bottleneck.components = 8
  c.bottleneck.scale_shift = 0.0
  c.decoder.hidden = (64,)
  c.decoder.activation = "tanh"
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=0.3)
  c.optimizer.learning_rate = 0.01
  c.train.duration = "1500 steps"
  c.train.samples = 4
  c.train.ema = 0.99
  c.train.steps_per_dispatch = 500
  c.train.log_every = "500 steps"
  c.eval.every = "1500 steps"
  c.eval.batch_size = ROWS
  c.checkpoint.every = "1500 steps"
  c.assess.exact = dict(fn="ibjax.evaluators.exact_plane:exact_plane", samples=4000)
  if variant == "full":
    for key in ("train.duration", "eval.every", "checkpoint.every"):
      c.update_from_flattened_dict({key: "7500 steps"})
  if variant == "smoke":
    for key in ("train.duration", "eval.every", "checkpoint.every"):
      c.update_from_flattened_dict({key: "100 steps"})
    c.train.steps_per_dispatch = 50
    c.train.log_every = "50 steps"
    c.assess.exact.samples = 200
  return c
