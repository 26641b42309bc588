"""VIB on MNIST at a rate of 10 nats: beta is learned.

Paper: Rezende and Viola 2018, "Taming VAEs" (arXiv:1810.00597); no number for this network.

Command: ibjax train --config=configs/wrappers/target_rate_mnist.py --workdir=runs/target_rate_mnist

Expected on the test split, as measured with seed 0; the mean ± standard deviation over 5 seeds is
not measured:
  error, 12 codes averaged    4.01 %
  rate                        9.89 nats, of 10 wanted on training data; beta ends at 0.033
  I(X;Z) at least             4.11 nats, at most 4.41 by leaving one out

Time: about 40 s on 2 shared cores (3 epochs).

Arguments: `full` is 200 epochs of batch 100, not measured yet; `smoke` is the same method on
scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.encoder.hidden = (256, 256)
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=32, scale_shift=-2.0)
  c.objective = dict(
    fn="ibjax.objectives.wrappers.target_rate:target_rate",
    inner=dict(fn="ibjax.objectives.variational.vib:vib"),
    target_nats=10.0,
  )
  c.train.duration = "3 epochs"
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
