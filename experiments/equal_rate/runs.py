"""Which runs: every objective that prices information, over its beta, on one network and MNIST.

784-256-256-2x16 with a Gaussian code and a linear decoder, batch 256, 3 epochs. Betas are chosen so
that each method's runs lie between about 2 and 7 nats of measured I(X;Z) where it gets there.
"""

NAMED = {
  "vib": "variational.vib",
  "ceb": "variational.ceb",
  "nonlinear_ib": "variational.nonlinear_ib",
  "convex": "wrappers.convex",
  "hsic_regularizer": "kernel.hsic_regularizer",
  "cauchy_schwarz_ib": "kernel.cauchy_schwarz_ib",
  "matrix_renyi_ib": "kernel.matrix_renyi_ib",
  "deterministic_ib": "kernel.deterministic_ib",
  "matrix_entropy": "kernel.matrix_entropy",
  "o_vib": "structured.o_vib",
  "mcr2": "representation.mcr2",
}
BETAS = {
  "vib": (0.003, 0.01, 0.03, 0.1, 0.2),
  "ceb": (0.003, 0.01, 0.03, 0.1, 0.3),
  "nonlinear_ib": (0.01, 0.03, 0.1, 0.3, 0.6),
  "convex": (0.0003, 0.001, 0.003, 0.01, 0.03),
  "hsic_regularizer": (0.003, 0.01, 0.03, 0.1, 0.3),
  "cauchy_schwarz_ib": (0.03, 0.1, 0.3, 1.0, 3.0),
  "matrix_renyi_ib": (0.03, 0.1, 0.3, 0.6, 1.0),
  "deterministic_ib": (0.03, 0.1, 0.3, 0.6, 1.0),
  "matrix_entropy": (0.01, 0.1, 0.3, 1.0, 3.0),
}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "1 epochs", "eval.every": "1 epochs"}),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = tuple(
  dict(
    id=f"{method}/beta={beta:g}",
    config="configs/comparison/equal_rate_mnist.py",
    overrides={
      "objective.fn": f"ibjax.objectives.{NAMED[method]}:{method}",
      "objective.beta": beta,
    },
  )
  for method, betas in BETAS.items()
  for beta in betas
)
