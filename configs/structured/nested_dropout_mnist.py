"""Nested Dropout on MNIST: channels in the order of importance, the width chosen on held-out data.

Paper: Chen et al. 2021, "Boosting co-teaching with compression regularization for label noise"
(arXiv:2104.13766), on data without noise; Rippel et al. 2014 (arXiv:1402.0915).

Command: ibjax train --config=configs/structured/nested_dropout_mnist.py --workdir=runs/try

Expected on the test split, mean ± standard deviation over 5 seeds: not run.

Time: not measured.

Arguments: `full` is 200 epochs, not run; `smoke` is scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.validation = 5000
  c.encoder.hidden = (512,)
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.nested_dropout:nested_dropout", dim=128, spread=32.0)
  c.eval.samples = 1  # nothing is sampled in evaluation
  c.assess = dict(nested=dict(fn="ibjax.evaluators.nested_widths:nested_widths"))
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    c.data.validation = 200
    c.bottleneck.dim = 32
    c.bottleneck.spread = 16.0
    c.eval.samples = 1
  return c
