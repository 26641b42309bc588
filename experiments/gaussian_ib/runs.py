"""Which runs: a linear encoder trained by VIB on jointly Gaussian data, over beta.

Canonical correlations 0.95, 0.8, 0.6 and 0.3, so that our beta (the price of a nat of rate, one
over the paper's) has critical values 0.9025, 0.64, 0.36 and 0.09: below each, one more direction of
x is worth its price.
"""

BETAS = (0.95, 0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02)

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "10 epochs", "eval.every": "10 epochs"}),
  "full": dict(seeds=(0, 1, 2, 3, 4)),
}

CELLS = tuple(
  dict(
    id=f"beta={beta:g}",
    config="configs/variational/vib_gaussian.py",
    overrides={"objective.beta": beta},
  )
  for beta in BETAS
)
