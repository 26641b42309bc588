"""The squared information bottleneck on MNIST: beta prices the square of VIB's rate.

Paper: Rodriguez Galvez et al. 2020, "The convex information bottleneck Lagrangian"
(arXiv:1911.11000); no number for this network.

Command: ibjax train --config=configs/wrappers/squared_vib_mnist.py --workdir=runs/squared_vib_mnist

Expected on the test split, as measured with seed 0; the mean ± standard deviation over 5 seeds is
not measured:
  error, 12 codes averaged    4.38 %
  rate, I(X;Z) at most        11.3 nats by the prior, 4.6 by leaving one out
  I(X;Z) at least             4.28 nats
  effective beta              0.023

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
    fn="ibjax.objectives.wrappers.convex:convex",
    inner=dict(fn="ibjax.objectives.variational.vib:vib"),
    beta=1e-3,
    function="square",
  )
  c.train.duration = "3 epochs"
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
