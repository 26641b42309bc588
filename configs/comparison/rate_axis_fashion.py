"""Any channel between one encoder and one decoder, on Fashion-MNIST: images or classes from bits.

Paper: none; the comparison is this project's own (experiments/rate_axis).

Command: ibjax train --config=configs/comparison/rate_axis_fashion.py:vq --workdir=runs/vq \
  --config.bottleneck.heads=8

The data folder (IBJAX_DATA_DIR, or --data_dir) must hold fashion_mnist/ with its four idx files.

Expected on the test split: see experiments/rate_axis, which has mean and interval over its seeds
(3, not the usual 5 seeds) for each channel and rate, as measured; no ± is claimed here.

Time: about 15 s on 2 cores (2 epochs).

Arguments: the channel, `gaussian` (the default), `dropout`, `vq`, `residual_vq`, `fsq`, `gumbel` or
`top_k`, and with `_label` behind it (`vq_label`) the class in place of the image; `full` is the
Gaussian channel for 20 epochs, not run; `smoke` is the same on scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base

# What a rate is set by: beta of the first two, the number of symbols of the others.
CHANNELS = {
  "gaussian": dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=32, prior="learned"),
  "dropout": dict(fn="ibjax.bottlenecks.information_dropout:information_dropout", dim=32),
  "vq": dict(fn="ibjax.bottlenecks.vq:vq", dim=32, codes=16, heads=8),
  "residual_vq": dict(fn="ibjax.bottlenecks.residual_vq:residual_vq", dim=32, codes=16, depth=8),
  "fsq": dict(fn="ibjax.bottlenecks.fsq:fsq", dim=16, levels=4, positions=8),
  "gumbel": dict(fn="ibjax.bottlenecks.gumbel:gumbel", dim=32, codes=16, heads=8, anneal_steps=300),
  "top_k": dict(
    fn="ibjax.bottlenecks.sparse.quantised_top_k:quantised_top_k",
    dim=32,
    latents=256,
    k=4,
    levels=4,
  ),
}
LABEL = "_label"
PRICED = ("gaussian", "dropout")
COMMITTED = ("vq", "residual_vq", "top_k")  # their quantiser adds losses of its own
ARGUMENTS = tuple(f"{channel}{task}" for channel in CHANNELS for task in ("", LABEL))


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", a channel, "full" (20 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *ARGUMENTS))
  channel = variant.removesuffix(LABEL) if variant in ARGUMENTS else "gaussian"
  label = variant.endswith(LABEL)
  c = base.defaults()
  c.data.source = "fashion_mnist" if label else "autoencode:fashion_mnist"
  c.data.batch_size = 256
  c.data.value_range = (0.0, 1.0)
  c.encoder.hidden = (256, 256)
  c.bottleneck = CHANNELS[channel]
  c.decoder.hidden = (256,)
  image = dict(fn="ibjax.objectives.generative.beta_vae:beta_vae", beta=1.0, decoder_scale=0.1)
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=0.01) if label else image
  if channel not in PRICED:
    # Its bits are what they are: nothing prices them.
    plain = dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy")
    c.objective = plain if label else {**image, "beta": 0.0}
    c.assess.code = dict(fn="ibjax.evaluators.code_usage:code_usage", coded=200)
  if channel in COMMITTED:
    c.objective = dict(fn="ibjax.objectives.wrappers.quantised:quantised", inner=c.objective)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "2 epochs"
  c.eval.every = "2 epochs"
  c.eval.samples = 1  # one code of each image, as it would be sent
  c.checkpoint.every = "2 epochs"
  if variant == "full":
    c.train.duration = "20 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.data.source = "autoencode:digits"
    c.decoder.hidden = (32,)
    c.bottleneck.dim = 8
    c.objective.decoder_scale = 0.3
    c.train.duration = "8 epochs"
    c.eval.every = "4 epochs"
    c.eval.samples = 1
    c.assess.collapse = dict(fn="ibjax.evaluators.collapse:collapse", epsilon=0.01)
  return c
