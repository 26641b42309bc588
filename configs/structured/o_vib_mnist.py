"""O-VIB on MNIST: learned prior variances, an orthogonal projection, pruned dimensions.

Paper: Fang et al. 2025, "Task-oriented communications for visual navigation with edge-aerial
collaboration in low altitude economy" (arXiv:2504.18317), whose data are camera views; this recipe
is ours.

Command: ibjax train --config=configs/structured/o_vib_mnist.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run.

Time: not measured.

Arguments: `full` is 200 epochs, not run; `smoke` is scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.encoder.hidden = (512, 512)
  c.bottleneck = dict(fn="ibjax.bottlenecks.ard_gaussian:ard_gaussian", dim=64)
  c.bottleneck.threshold_nats = 0.01
  c.objective = dict(fn="ibjax.objectives.structured.o_vib:o_vib", beta=1e-2, orthogonality=1e-2)
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 8
  return c
