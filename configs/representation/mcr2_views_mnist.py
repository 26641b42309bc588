"""Self-supervised coding rate reduction on MNIST: each image's views are a class.

Paper: Yu et al. 2020, "Learning diverse and discriminative representations via the principle of
maximal coding rate reduction" (arXiv:2006.08558), section 2.4: 50 views, gamma_1 = 20 and gamma_2 =
0.05; here 4 views.

Command: ibjax train --config=configs/representation/mcr2_views_mnist.py --workdir=runs/mcr2_views

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
  c.objective = dict(fn="ibjax.objectives.representation.mcr2:mcr2", classes="views")
  c.objective.update(dict(epsilon_squared=0.5, beta=1.0, gamma_1=20.0, gamma_2=0.05))
  c.data.batch_size = 125
  c.views.count = 4
  c.train.duration = "5 epochs"
  return base.self_supervised_variant(c, variant)
