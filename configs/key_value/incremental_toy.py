"""Eight Gaussian classes of the plane, two at a time: a key-value bottleneck keeps what it learned.

Paper: Traeuble et al. 2023, "Discrete key-value bottleneck" (arXiv:2207.11240), figure 2: 20 heads
of 20 keys, started from uniform inputs, and the same 100 examples for 1,000 steps a group.

Command: ibjax train --config=configs/key_value/incremental_toy.py --workdir=runs/incremental_toy

Expected: 5 seeds not measured; over 3 seeds (0 to 2), mean ± standard deviation, as measured:
  accuracy on all classes at the end    99.9 ± 0.2 %, forgetting   0.0 ± 0.0 %
  linear, mlp                           25.0 ± 0.0 %, forgetting 100.0 ± 0.0 %
  rehearsal                             94.1 ± 4.1 %, forgetting   7.9 ± 5.5 %

Time: below a minute a seed on 2 cores with other work on them.

Arguments: `linear` and `mlp` (32 hidden units) are the paper's baselines, `probe` decodes values by
a linear layer, `rehearsal` is the mlp with a memory of 40 examples; `full` makes ten times as many
steps, not run; `smoke` is the default with fewer, in seconds.
"""

from ibjax.core import config as base
from ibjax.core import continual


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full", "smoke" or one of the other methods."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *continual.METHODS))
  keys = dict(heads=20, keys=20, key_dim=2)
  c = continual.class_incremental("eight_gaussians", 2, 8, keys, 10.0)
  c.data.shuffle = False  # the paper's pairs
  continual.learn_keys(c, source="eight_gaussians:n=4000,uniform=1", steps=1000, batch_size=200)
  # All of a group's 100 examples in every step, 1,000 times.
  c.training.update(dict(epochs=1000, batch_size=100))
  continual.method(c, variant, hidden=32, rehearsal=40)
  if variant == "linear":
    c.recipe.optimizer.learning_rate = 1e-2
  if variant == "full":
    c.training.epochs = 10_000
  if variant == "smoke":
    continual.learn_keys(c, steps=100)
    c.training.epochs = 100
  return c
