"""Which runs: a population of stochastic networks over width, weight decay, price and problem.

A run is one setting and one start, trained on three samples of its problem; what it reports is the
mean over the samples. A problem is a draw of five centres.
"""

CONFIG = "configs/generalisation/ib_blobs.py"

WIDTHS = (32, 64, 128, 256)
DECAYS = (0.0, 0.01, 0.1)
BETAS = (0.0, 1e-3, 1e-2)
PROBLEMS = (0, 1, 2)

BUDGETS = {
  "quick": dict(seeds=(0,), overrides={"training.steps": 60}),
  "full": dict(seeds=(0, 1)),
}

CELLS = tuple(
  dict(
    id=f"width={width}/decay={decay:g}/beta={beta:g}/problem={problem}",
    config=CONFIG,
    overrides={
      "recipe.encoder.hidden": (width, width, width // 2),
      "recipe.bottleneck.dim": width // 2,
      "recipe.optimizer.l2": decay,
      "recipe.objective.beta": beta,
      "data.tasks": f"toy:blobs:n=50,n_test=1000,box=4,centers={problem},seed={{seed}}",
    },
    **({} if width <= 64 else {"budgets": ("full",)}),
  )
  for width in WIDTHS
  for decay in DECAYS
  for beta in BETAS
  for problem in PROBLEMS
)
