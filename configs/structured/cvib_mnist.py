"""CVIB on MNIST: a network, its self-pruned twin, and a contrast between their codes.

Paper: Chang et al. 2023, "Contrastive variational information bottleneck for aspect-based sentiment
analysis" (arXiv:2303.02846), on images in place of text; sizes and weights are ours.

Command: ibjax train --config=configs/structured/cvib_mnist.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run.

Time: not measured.

Arguments: `full` is 200 epochs, not run; `smoke` is scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.encoder = dict(fn="ibjax.models.twin_mlp:twin_mlp", hidden=(256, 256))
  c.bottleneck = dict(fn="ibjax.bottlenecks.twin:twin", dim=64)
  c.objective = dict(fn="ibjax.objectives.structured.cvib:cvib", beta=1e-4, contrast=0.1)
  c.objective.temperature = 0.1
  c.eval.samples = 1  # nothing is sampled in evaluation
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 16
    c.eval.samples = 1
  return c
