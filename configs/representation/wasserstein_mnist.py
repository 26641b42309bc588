"""Wasserstein dependency of two views on MNIST, 784-512-256.

Paper: Ozair et al. 2019, "Wasserstein dependency measure for representation learning"
(arXiv:1903.11780).

Command: ibjax train --config=configs/representation/wasserstein_mnist.py --workdir=runs/wasserstein

The error is that of a linear probe on the code, on clean inputs; the paper's networks and data are
larger.

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not run.

Time: not measured.

Arguments: `full` is 100 epochs, not run; `smoke` is on scikit-learn's digits, in seconds, where
the decoder's labels train the encoder too: without them its code is of little use that soon (63%
error, measured once).
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.self_supervised(base.defaults())
  c.objective = dict(
    fn="ibjax.objectives.representation.wasserstein_dependency:wasserstein_dependency", width=64
  )
  c.objective.update(dict(sizes=(64, 64), constraint="penalty", penalty=10.0))
  base.self_supervised_variant(c, variant)
  if variant == "smoke":
    c.objective.width = 16
    c.train.probe = False
  return c
