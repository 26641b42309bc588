"""SimCLR on MNIST: InfoNCE between two views, 784-512-256.

Paper: Chen et al. 2020, "A simple framework for contrastive learning of visual representations"
(arXiv:2002.05709).

Command: ibjax train --config=configs/representation/info_nce_mnist.py --workdir=runs/info_nce

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
  c.objective = dict(fn="ibjax.objectives.representation.info_nce:info_nce", temperature=0.5)
  c.objective.candidates = "both"
  return base.self_supervised_variant(c, variant)
