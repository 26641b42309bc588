"""Entropy and invariance in nats on MNIST: two views, 784-512-256.

Paper: Shwartz-Ziv et al. 2023, "An information-theoretic perspective on
variance-invariance-covariance regularization" (arXiv:2303.00633).

Command: ibjax train --config=configs/representation/entropy_invariance_mnist.py --workdir=runs/nats

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
  c.objective = dict(
    fn="ibjax.objectives.representation.entropy_invariance:entropy_invariance", beta=0.1
  )
  c.objective.noise_variance = 0.05
  base.self_supervised_variant(c, variant)
  if variant == "smoke":
    c.objective.noise_variance = 0.3
    c.train.duration = "20 epochs"
  return c
