"""Which runs: maximum likelihood, VIB over beta and Bayes, on few examples of two toy problems.

A cell is one method on one draw of the data. Its seed is the draw's number, so the network's
start, its noise and the data change together, and a mean over draws is over all of them.
"""

DRAWS = (0, 1, 2, 3, 4)
BETAS = (0.01, 0.03, 0.1, 0.3)


def lasting(steps):
  """A run of so many steps, evaluated once, at the end."""
  text = f"{steps} steps"
  return {"train.duration": text, "eval.every": text, "checkpoint.every": text}


BUDGETS = {
  "quick": dict(seeds=DRAWS[:2], overrides=lasting(300)),
  "full": dict(seeds=DRAWS, overrides=lasting(1000)),
}

# Problem -> (its source, training examples, overrides of all methods, of Bayes alone). Every step
# is on all training examples.
PROBLEMS = {
  "moons": ("toy:moons:n=200,n_test=1000", 200, {}, {}),
  "sine": (
    "toy:sine:n=100,noise=0.5,n_test=1000",
    100,
    # The evidence of 100 examples pays for few weights: wider, Bayes keeps its prior and learns
    # nothing.
    {"encoder.hidden": (20,), "bottleneck.dim": 20},
    # Of (0.5, 1) x (0.3, 1), the best evidence bound on the training data of draw 0.
    {"encoder.prior_scale": 0.5, "decoder.prior_scale": 1.0},
  ),
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
      "eval.batch_size": 1000,
      "data.source": f"{source},seed={draw}",
      "data.batch_size": n,
      **shared,
      **overrides,
      **(bayes if method == "bayes" else {}),
    },
    seeds=(draw,),
    budgets=("quick", "full") if draw in DRAWS[:2] else ("full",),
  )
  for problem, (source, n, shared, bayes) in PROBLEMS.items()
  for method, (config, overrides) in METHODS.items()
  for draw in DRAWS
)
