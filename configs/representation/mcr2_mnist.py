"""Maximal coding rate reduction on MNIST: 784-512-512-64, classes of a batch of 1000.

Paper: Yu et al. 2020, "Learning diverse and discriminative representations via the principle of
maximal coding rate reduction" (arXiv:2006.08558); its networks are residual, its data CIFAR-10.

Command: ibjax train --config=configs/representation/mcr2_mnist.py --workdir=runs/mcr2_mnist

The codes are classified by the nearest subspace and by neighbours, on the test split; "error" is of
a linear probe on the code, which moves nothing.

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
  c.objective = dict(fn="ibjax.objectives.representation.mcr2:mcr2", classes="labels")
  c.objective.update(dict(epsilon_squared=0.5, beta=1.0, gamma_1=1.0, gamma_2=1.0))
  c.optimizer.learning_rate = 1e-3
  c.train.probe = True
  c.eval.samples = 1  # nothing is sampled
  c.assess.subspace = dict(fn="ibjax.evaluators.nearest_subspace:nearest_subspace", components=5)
  c.assess.neighbours = dict(fn="ibjax.evaluators.nearest_neighbours:nearest_neighbours", k=5)
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "10 epochs"
    c.checkpoint.every = "10 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.data.batch_size = 128
    c.bottleneck.dim = 16
    c.train.duration = "15 epochs"
    c.eval.every = "5 epochs"
    c.eval.samples = 1
  return c
