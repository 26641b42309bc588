"""Cross-entropy with the network of `mcr2_mnist`, whose code is measured in the same ways.

Paper: the baseline of Yu et al. 2020, "Learning diverse and discriminative representations via the
principle of maximal coding rate reduction" (arXiv:2006.08558), section 3.

Command: ibjax train --config=configs/representation/cross_entropy_mnist.py --workdir=runs/codes

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not run.

Time: not measured.

Arguments: `full` is 100 epochs, not run; `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.batch_size = 1000
  c.encoder.hidden = (512, 512)
  c.bottleneck.dim = 64
  c.optimizer.learning_rate = 1e-3
  c.eval.samples = 1  # nothing is sampled
  c.assess.subspace = dict(fn="ibjax.evaluators.nearest_subspace:nearest_subspace", components=5)
  c.assess.neighbours = dict(fn="ibjax.evaluators.nearest_neighbours:nearest_neighbours", k=5)
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "10 epochs"
    c.checkpoint.every = "10 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 16
    c.eval.samples = 1
  return c
