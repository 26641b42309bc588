"""Which runs: maximum likelihood, VIB over beta and Bayes, on few examples of two toy problems.

A cell is one method on one draw of the data. Its seed is the draw's number, so the network's
start, its noise and the data change together, and a mean over draws is over all of them.
"""

DRAWS = (0, 1, 2, 3, 4)
BETAS = (0.003, 0.01, 0.03, 0.1, 0.3)
# Problem -> training examples; every step is on all of them.
SIZES = {"moons": 200, "sine": 30}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "500 steps", "eval.every": "500 steps"}),
  "full": dict(seeds=DRAWS, overrides={"train.duration": "2000 steps", "eval.every": "2000 steps"}),
}

METHODS = {
  "empirical": ("configs/bayesian/empirical_toy.py", {}),
  **{
    f"vib/beta={beta:g}": ("configs/bayesian/vib_toy.py", {"objective.beta": beta})
    for beta in BETAS
  },
  "bayes": ("configs/bayesian/bayes_toy.py", {}),
}

CELLS = tuple(
  dict(
    id=f"{problem}/{method}/draw={draw}",
    config=config,
    overrides={
      **overrides,
      "data.source": f"toy:{problem}:n={n},seed={draw}",
      "data.batch_size": n,
    },
    seeds=(draw,),
    budgets=("quick", "full") if draw in (0, 1) else ("full",),
  )
  for problem, n in SIZES.items()
  for method, (config, overrides) in METHODS.items()
  for draw in DRAWS
)
