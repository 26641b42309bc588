"""Beta-VAE on MNIST: 784-512-512-2x32, a decoder 32-512-784, one learned decoder variance.

Paper: Higgins et al. 2017, "beta-VAE: learning basic visual concepts with a constrained variational
framework" (ICLR); posterior collapse as Lucas et al. 2019 (arXiv:1911.02469) and active units as
Burda et al. 2016 (arXiv:1509.00519) count it.

Command: ibjax train --config=configs/generative/beta_vae_mnist.py --workdir=runs/beta_vae_mnist

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not run.

Options: a fixed variance --config.objective.learned_scale=False
--config.objective.decoder_scale=0.3, log odds of pixels --config.objective.likelihood=bernoulli.

Time: not measured.

Arguments: `full` is 100 epochs, not run; `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.source = "autoencode:mnist"
  c.data.batch_size = 250
  c.encoder.hidden = (512, 512)
  c.decoder.hidden = (512,)
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=32, prior="standard")
  c.bottleneck.scale_shift = 0.0
  c.objective = dict(fn="ibjax.objectives.generative.beta_vae:beta_vae", beta=1.0)
  c.objective.update(dict(likelihood="gaussian", decoder_scale=0.3, learned_scale=True))
  c.optimizer.learning_rate = 1e-3
  c.eval.samples = 1
  c.assess.collapse = dict(fn="ibjax.evaluators.collapse:collapse", epsilon=0.01)
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "10 epochs"
    c.checkpoint.every = "10 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.data.source = "autoencode:digits"
    c.decoder.hidden = (32,)
    c.bottleneck.dim = 8
    c.train.duration = "8 epochs"
    c.eval.every = "4 epochs"
    c.eval.samples = 1
  return c
