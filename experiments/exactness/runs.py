"""Which runs: objectives on small tables p(x, y) whose exact bottleneck is known, over beta.

One encoder (one-hot x, 64 hidden units), one Gaussian channel of 4 dimensions with learned noise,
one decoder (64 hidden units); each step is on all 200 rows, which are the distribution itself. Only
the objective differs, and its beta, over what each understands by it.
"""

TASKS = {
  "random": "discrete:table:kx=8,ky=4,concentration=0.3,seed=1,rows=200",
  "chain": "discrete:table_chain:k=6,noise=0.3,rows=200",
  "xor": "discrete:xor:p=0.05,rows=200",
}
PRICES = (0.1, 0.3, 0.5)  # of a nat of I(X;Z), in nats of I(Y;Z)

STANDARD = {"bottleneck.prior": "standard"}
KERNEL = {**STANDARD, "train.samples": 1}  # a batch of pairs is large enough


def objective(fn, **keywords):
  """Overrides that name an objective and its keywords."""
  found = {"objective.fn": f"ibjax.objectives.{fn}"}
  return found | {f"objective.{key}": value for key, value in keywords.items()}


# Method -> (overrides, betas).
METHODS = {
  "vib": (objective("variational.vib:vib"), PRICES),
  "vib_standard": ({**objective("variational.vib:vib"), **STANDARD}, PRICES),
  # beta of I(X;Z|Y) at the same price of I(X;Z): price / (1 - price).
  "ceb": (
    {**objective("variational.ceb:ceb"), **STANDARD},
    tuple(price / (1.0 - price) for price in PRICES),
  ),
  "nonlinear_ib": ({**objective("variational.nonlinear_ib:nonlinear_ib"), **STANDARD}, PRICES),
  # Squared, so that the price of a nat is 2 beta times the rate.
  "squared_vib": (objective("wrappers.convex:convex"), (0.05, 0.15, 0.5)),
  # VIB whose nats are free.
  "cross_entropy": ({**objective("variational.vib:vib", beta=0.0), **STANDARD}, ()),
  "hsic": ({**objective("kernel.hsic_regularizer:hsic_regularizer"), **KERNEL}, (0.01, 0.1, 1.0)),
  "matrix_renyi": (
    {**objective("kernel.matrix_renyi_ib:matrix_renyi_ib"), **KERNEL},
    (0.1, 0.3, 1.0),
  ),
  "cauchy_schwarz": (
    {**objective("kernel.cauchy_schwarz_ib:cauchy_schwarz_ib"), **KERNEL},
    (0.01, 0.1, 1.0),
  ),
}


def lasting(steps):
  """A run of so many steps, evaluated once, at the end."""
  return {
    "train.duration": f"{steps} steps",
    "train.log_every": f"{steps} steps",
    "eval.every": f"{steps} steps",
    "checkpoint.every": f"{steps} steps",
  }


BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides=lasting(300)),
  "full": dict(seeds=(0, 1, 2), overrides=lasting(1000)),
}


def cells():
  """One cell for each task, method and beta."""
  for task, source in TASKS.items():
    for method, (overrides, betas) in METHODS.items():
      shared = {"train.samples": 2, **overrides, "data.source": source}
      if not betas:
        yield dict(
          id=f"{task}/{method}", config="configs/variational/vib_discrete.py", overrides=shared
        )
      for beta in betas:
        yield dict(
          id=f"{task}/{method}/beta={beta:.3g}",
          config="configs/variational/vib_discrete.py",
          overrides={**shared, "objective.beta": beta},
        )


CELLS = tuple(cells())
