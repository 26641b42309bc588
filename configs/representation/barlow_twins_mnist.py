"""Barlow Twins on MNIST: two views, 784-512-256.

Paper: Zbontar et al. 2021, "Barlow twins: self-supervised learning via redundancy reduction"
(arXiv:2103.03230).

Command: ibjax train --config=configs/representation/barlow_twins_mnist.py --workdir=runs/barlow

The error is that of a linear probe on the code, on clean inputs; the paper's networks and data are
larger.

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not run.

Time: not measured.

Arguments: `full` is 100 epochs, not run; `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.self_supervised(base.defaults())
  c.objective = dict(fn="ibjax.objectives.representation.barlow_twins:barlow_twins", beta=5e-3)
  return base.self_supervised_variant(c, variant)
