"""Mutual information of 40 tasks whose exact value is known.

Paper: Czyz, Grabowski, Vogt, Beerenwinkel and Marx 2023, "Beyond Normal: on the evaluation of
mutual information estimators" (arXiv:2306.11078).

Command: ibjax train --config=configs/estimation/benchmark.py --workdir=runs/benchmark

Another estimator: --config.estimator.fn=ibjax.estimators.<family>.<method>:<method>

Expected over the 40 tasks, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  mean absolute error    0.048 ± 0.009 nats
  largest error          0.43 ± 0.35 nats

Time: 2 minutes of processor time, compiling included.

Arguments: `full` has 10,000 samples of each task instead of 2,000; `smoke` three tasks of 500.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more samples) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.measuring()
  if variant == "full":
    c.data.n = 10000
  if variant == "smoke":
    c.data.tasks = "bmi:1v1-normal-0.75;bmi:multinormal-dense-3-3-0.5;bmi:student-identity-2-2-1"
    c.data.n = 500
  return c
