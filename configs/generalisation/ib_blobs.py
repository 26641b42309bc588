"""What a stochastic code keeps of its input beyond the label, against the generalisation gap.

Paper: Kawaguchi, Deng, Ji and Huang 2023, "How does information bottleneck help deep learning?"
(arXiv:2305.18887), the study of toy clusters in section 5.

Command: ibjax train --config=configs/generalisation/ib_blobs.py --workdir=runs/ib_blobs

Expected over 3 samples, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  gap in loss, test less train   0.303 ± 0.018 nats
  gap in error                   12.3 ± 1.3 %
  test error                     45.2 ± 0.8 %    (blobs that overlap)
  I(X;Z) at least                4.37 ± 0.14 nats
  I(X;Z|Y) at least              3.45 ± 0.12 nats

Time: seconds.

Arguments: `full` trains ten times as long, not measured; `smoke` 30 steps of a narrow network.
"""

import ml_collections

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (3,000 steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = ml_collections.ConfigDict()
  c.seed = 0  # of the network's start and noise
  c.program = "ibjax.programs.generalisation:generalisation"
  # Every "{seed}" is a sample of one distribution; n samples.
  source = "toy:blobs:n=50,n_test=1000,box=4,seed={seed}"
  c.data = ml_collections.ConfigDict(dict(tasks=source, n=3))
  c.training = ml_collections.ConfigDict(dict(steps=300, average_from=2 / 3, variance_floor=1e-8))
  recipe = base.defaults()
  recipe.data.batch_size = 50
  recipe.encoder = dict(fn="ibjax.models.mlp:mlp", hidden=(64, 64, 32))
  recipe.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=32, scale_shift=0.0)
  recipe.decoder = dict(fn="ibjax.models.mlp:mlp", hidden=())
  recipe.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-3)
  recipe.optimizer = dict(fn="ibjax.programs.penalized_sgd:penalized_sgd", learning_rate=0.01)
  recipe.optimizer.l2 = 0.0
  recipe.schedule = dict(fn="ibjax.core.schedules:constant")
  recipe.eval.samples = 32
  # The sections of a model and its update; how it is fed and kept is the program's.
  named = ("program", "data", "encoder", "bottleneck", "decoder", "objective", "optimizer")
  named += ("schedule", "beta_schedule", "train", "eval")
  c.recipe = ml_collections.ConfigDict({name: recipe[name] for name in named})
  if variant == "full":
    c.training.steps = 3000
  if variant == "smoke":
    c.training.steps = 60
    c.recipe.optimizer.learning_rate = 0.05
    c.recipe.encoder.hidden = (16,)
    c.recipe.bottleneck.dim = 4
  return c
