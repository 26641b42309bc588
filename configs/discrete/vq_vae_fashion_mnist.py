"""VQ-VAE on Fashion-MNIST: 28x28 to 7x7 vectors of 16, each one of 256 codes, and back.

Paper: van den Oord et al. 2017, "Neural discrete representation learning" (arXiv:1711.00937), with
a small network and other data, so there is no published number; with the codebook started by
k-means++, dead codes revived, and the rotation of Fifty et al. 2024 (arXiv:2410.06424).

Command: ibjax train --config=configs/discrete/vq_vae_fashion_mnist.py --workdir=runs/vq_vae

The data folder (IBJAX_DATA_DIR, or --data_dir) must hold fashion_mnist/ with the four idx files;
`:mnist` runs the same on MNIST, which comes with ibjax. The report shows reconstructions.

Expected on the test split, as measured with seed 0 alone (mean ± standard deviation over 5 seeds:
not measured):
  squared error of a pixel    0.01063 (pixels in [0, 1])
  stored                      392 bits an image (49 symbols of 8 bits)
  entropy of the symbols      296 bits, each place by itself; 368 bits, all places together
  arithmetic coder, adaptive  318 bits an image over 1,000 images; 301 bits over 10,000 by formula
  codes in use                256 of 256, perplexity 183
  -ELBO by even odds          -396 nats (density, decoder scale 0.1)

Options: --config.bottleneck.fn=ibjax.bottlenecks.residual_vq:residual_vq (of depth 4);
straight through --config.bottleneck.gradient=straight_through.

Time: 12 minutes on 2 cores that others used too (load average 15), at 3.3 steps a second.

Arguments: `mnist` is the same on MNIST; `full` is 50 epochs, not run; `smoke` is the same method
on scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "mnist", "full" (50 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, "mnist"))
  c = base.defaults()
  c.data.source = "autoencode:mnist" if variant == "mnist" else "autoencode:fashion_mnist"
  c.data.batch_size = 128
  c.data.value_range = (0.0, 1.0)
  c.encoder = dict(fn="ibjax.models.conv_encoder:conv_encoder", channels=(16, 32), residual=1)
  c.bottleneck = dict(fn="ibjax.bottlenecks.vq:vq", dim=49 * 16, positions=49, codes=256)
  c.decoder = dict(fn="ibjax.models.conv_decoder:conv_decoder", grid=(7, 7), channels=(32, 16))
  c.decoder.residual = 1
  c.objective = dict(fn="ibjax.objectives.wrappers.quantised:quantised", commitment=0.25)
  c.objective.inner = dict(fn="ibjax.objectives.generative.beta_vae:beta_vae", decoder_scale=0.1)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "3 epochs"
  c.eval.samples = 1  # nothing is drawn
  c.assess.code = dict(fn="ibjax.evaluators.code_usage:code_usage", coded=1000)
  if variant == "full":
    c.train.duration = "50 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "smoke":
    c.data.source = "autoencode:digits"
    c.data.batch_size = 64
    c.encoder.channels = (8, 8)
    c.decoder.update(dict(grid=(2, 2), channels=(8, 8)))
    c.bottleneck.update(dict(dim=4 * 4, positions=4, codes=16))
    c.optimizer.learning_rate = 0.01
    c.train.duration = "3 epochs"
    c.train.steps_per_dispatch = 10
    c.eval.batch_size = 128
  return c
