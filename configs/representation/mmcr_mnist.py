"""Maximum manifold capacity on MNIST: 784-512-256, views by shift, zoom and erasing.

Paper: Yerxa et al. 2023, "Learning efficient coding of natural images with maximum manifold
capacity representations" (arXiv:2303.03307). Its CIFAR networks see 40 views of 32 images; here 4
of 125, as many rows.

Command: ibjax train --config=configs/representation/mmcr_mnist.py --workdir=runs/mmcr

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
  c.objective = dict(fn="ibjax.objectives.representation.mmcr:mmcr", beta=0.0)
  c.data.batch_size = 125
  c.views.count = 4
  c.train.duration = "5 epochs"
  return base.self_supervised_variant(c, variant)
