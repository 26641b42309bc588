"""Which runs: VIB and CEB over beta, on MNIST and on Fashion-MNIST, with one small network.

784-256-256-2x64 and a linear decoder, 3 epochs: the question is what a nat buys under either
objective, not how low the error can go, so all is alike but the objective.
"""

DATA = {"mnist": "mnist", "fashion": "tfds:fashion_mnist:3.0.1"}
BETAS = {
  "vib": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
  "ceb": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
}
NETWORK = {"encoder.hidden": (256, 256), "bottleneck.dim": 64, "eval.fgsm": (0.1,)}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "1 epochs", "eval.every": "1 epochs"}),
  "full": dict(
    seeds=(0, 1, 2, 3, 4), overrides={"train.duration": "3 epochs", "eval.every": "3 epochs"}
  ),
}

CELLS = tuple(
  dict(
    id=f"{data}/{method}/beta={beta:g}",
    config=f"configs/variational/{method}_mnist.py",
    overrides={**NETWORK, "data.source": source, "objective.beta": beta},
  )
  for data, source in DATA.items()
  for method, betas in BETAS.items()
  for beta in betas
)
