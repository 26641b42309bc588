"""Which runs: six objectives over their betas on six regression sets, with one network.

All is alike but the objective and the channel it needs: VIB and NIB add noise, the others do not.
"""

SETS = {
  "california": "regression:california",
  "beijing": "regression:beijing",
  "bike": "regression:bike",
  "energy": "regression:energy",
  "airfoil": "regression:airfoil",
  "rotation": "rotated_mnist",
}
# Method -> the betas that validation data choose from; each in the unit of its own penalty.
BETAS = {
  "vib": (1e-3, 1e-2),
  "nib": (1e-2, 1e-1),
  "hsic": (1e-1, 1.0),
  "renyi": (1e-1, 1.0),
  "cs": (1e-2, 1e-1),
}
CONFIG = "configs/regression/bottlenecks_california.py"


def lasting(steps):
  """A run of so many steps, evaluated once, at the end."""
  text = f"{steps} steps"
  return {"train.duration": text, "eval.every": text, "checkpoint.every": text}


BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides=lasting(300)),  # of one set
  "full": dict(seeds=(0, 1, 2), overrides=lasting(400)),
}


def cell(name, method, beta=None):
  """One method on one set; the quick budget has California Housing alone."""
  own = {} if beta is None else {"objective.beta": beta}
  return dict(
    id=f"{name}/{method}" if beta is None else f"{name}/{method}/beta={beta:g}",
    config=f"{CONFIG}:{method}",
    overrides={"data.source": SETS[name], **own},
    budgets=("quick", "full") if name == "california" else ("full",),
  )


CELLS = tuple(
  cell(name, method, beta)
  for name in SETS
  for method, betas in (("mse", (None,)), *BETAS.items())
  for beta in betas
)
