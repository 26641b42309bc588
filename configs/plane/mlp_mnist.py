"""Spectral entropy, effective dimension and local rank of an MLP 784-128-128-64-10 on MNIST.

Paper: Liao et al. 2024, "Assessing neural network representations during training using
noise-resilient diffusion spectral entropy" (DSE and DSMI); arXiv:2410.07687 (local rank).

Command: ibjax train --config=configs/plane/mlp_mnist.py --workdir=runs/mlp_mnist

Expected on the test split, mean ± standard deviation, not over the usual 5 seeds but 3 (0 to 2),
as measured:
  error                       2.92 ± 0.05 %    (2.91, 2.97, 2.88)
  local rank of layer 3       47.0, from at most 64

Time: 36 s a run as one of 3 on 2 busy cores (3,000 steps).

Arguments: `full` is five times as long; `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (15,000 steps) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.batch_size = 128
  c.encoder = dict(fn="ibjax.models.mlp:mlp", hidden=(128, 128), activate_out=True)
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=64)
  c.optimizer.learning_rate = 1e-3
  c.schedule = dict(fn="ibjax.core.schedules:constant")
  c.train.duration = "3000 steps"
  c.train.steps_per_dispatch = 200
  c.train.log_every = "500 steps"
  c.eval.every = "1500 steps"
  c.eval.samples = 1  # nothing is sampled
  c.checkpoint.every = "1500 steps"
  c.plane.fn = "ibjax.programs.plane:plane"
  c.plane.points = 10
  c.plane.splits = ("test",)
  c.plane.examples = 1000
  c.plane.layers = ("encoder/dense_[1-9].in", "bottleneck.out")
  spectral = "ibjax.estimators.spectral"
  c.plane.estimators.dse = dict(
    fn=f"{spectral}.diffusion_spectral_entropy:diffusion_spectral_entropy"
  )
  c.plane.estimators.dsmi = dict(
    fn=f"{spectral}.diffusion_spectral_information:diffusion_spectral_information", of=("y",)
  )
  c.plane.estimators.effective = dict(fn=f"{spectral}.effective_dimension:effective_dimension")
  c.plane.gradient_batches = 20
  c.plane.rank_examples = 32
  c.plane.rank_layers = ("encoder/*.out", "decoder/*.out")
  if variant == "full":
    c.train.duration = "15000 steps"
  if variant == "smoke":
    base.shrink(c)
    c.bottleneck.dim = 16
    c.eval.samples = 1
    c.train.log_every = "1 epochs"
    c.eval.every = "3 epochs"
    c.checkpoint.every = "3 epochs"
    c.plane.points = 2
    c.plane.examples = 100
    c.plane.gradient_batches = 2
    c.plane.rank_examples = 2
  return c
