"""A linear VAE where the exact answer is known: Gaussian x [8], which dimensions collapse.

Paper: Dang et al. 2024, "Beyond vanilla variational autoencoders" (arXiv:2306.05023); Lucas et al.
2019 (arXiv:1911.02469). The covariance has the eigenvalues 4, 2.69, 1.81, 1.22, 0.82, 0.55, 0.37
and 0.25; at beta = 1 and a decoder of scale 1 the four below 1 are not worth their rate. Exactly
(`ibjax.exact.linear_vae`): rate 1.5843 nats, squared error 0.7492 a coordinate, 4 units collapsed.

Command: ibjax train --config=configs/generative/linear_vae_gaussian.py --workdir=runs/linear_vae

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not run.

Time: not measured.

Arguments: `full` has 1,000,000 rows, not run; `smoke` has 2000 rows, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more data) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "autoencode:gaussian"
  c.data.batch_size = 1000
  c.encoder.hidden = ()
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=8, prior="standard")
  c.bottleneck.scale_shift = 0.0  # a noise of scale 0.7 at first
  c.bottleneck.shared_scale = True
  c.objective = dict(fn="ibjax.objectives.generative.beta_vae:beta_vae", beta=1.0)
  c.objective.decoder_scale = 1.0
  c.optimizer.learning_rate = 0.02
  c.train.duration = "40 epochs"
  c.train.steps_per_dispatch = 500
  c.train.ema = 0.995
  c.train.log_every = "2 epochs"
  c.eval.every = "40 epochs"
  c.eval.batch_size = 10000
  c.eval.samples = 1
  c.checkpoint.every = "40 epochs"
  c.assess.collapse = dict(fn="ibjax.evaluators.collapse:collapse", epsilon=0.01)
  if variant == "full":
    c.data.source = "autoencode:gaussian:train=1000000,test=1000000"
    c.data.batch_size = 5000
  if variant == "smoke":
    c.data.source = "autoencode:gaussian:train=2000,test=2000"
    c.data.batch_size = 500
    c.train.duration = "100 epochs"
    c.train.steps_per_dispatch = 100
    c.train.log_every = "50 epochs"
    c.eval.every = "100 epochs"
    c.eval.batch_size = 1000
    c.checkpoint.every = "100 epochs"
  return c
