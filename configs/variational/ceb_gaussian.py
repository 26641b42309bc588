"""CEB where the exact answer is known: jointly Gaussian x [8] and y [4], everything linear.

Paper: Fischer 2020, "The conditional entropy bottleneck" (arXiv:2002.05379), with a linear
backward encoder; its optimum at beta is the Gaussian information bottleneck (Chechik et al. 2005)
at the price beta / (1 + beta) of a nat. beta = 1/9 is the price 0.1 of
configs/variational/vib_gaussian.py.

Command: ibjax train --config=configs/variational/ceb_gaussian.py --workdir=runs/ceb_gaussian

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  I(Y;Z) at least          1.7390 ± 0.0012 nats; 1.7399 at the exact optimum
  I(X;Z|Y) at most         2.670 ± 0.004 nats; 2.669 there

All seeds share the 50,000 test rows, which move I(Y;Z) by 0.006 nats (one standard error of the
split). `tests/test_gaussian_learned.py` has no such error: within 1e-4 nats of the least loss.

Time: 1 to 5 minutes for all five seeds on 2 busy cores (2500 steps each).

Arguments: `full` has 1,000,000 rows and 8000 steps of 5000, not measured; `smoke` has 2000 rows and
75 steps, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more data and steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "gaussian:test=50000"
  c.data.batch_size = 400
  c.encoder.hidden = ()
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=4, prior="standard")
  c.bottleneck.scale_shift = 0.0  # a noise of scale 0.7 at first
  c.bottleneck.shared_scale = True
  c.objective = dict(fn="ibjax.objectives.variational.ceb_linear:ceb_linear", beta=1 / 9)
  c.optimizer.learning_rate = 0.05
  c.train.duration = "20 epochs"
  c.train.steps_per_dispatch = 500
  c.train.ema = 0.995
  c.train.log_every = "5 epochs"
  c.eval.every = "20 epochs"
  c.eval.batch_size = 1000
  c.eval.samples = 4
  c.checkpoint.every = "20 epochs"
  if variant == "full":
    c.data.source = "gaussian:train=1000000,test=1000000"
    c.data.batch_size = 5000
    c.train.duration = "40 epochs"
  if variant == "smoke":
    c.data.source = "gaussian:train=2000,test=500"
    c.data.batch_size = 80
    c.train.duration = "3 epochs"
    c.train.steps_per_dispatch = 10
    c.eval.batch_size = 128
  return c
