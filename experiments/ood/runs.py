"""Which runs: four models of Fashion-MNIST, of about one size, and what they say of other images.

784-256-256-10: without a bottleneck, with VIB, and with a distance aware bottleneck of one and of
ten Gaussians. Each run scores its outside inputs in every way that it can.
"""

CONFIG = "configs/uncertainty/outside_fashion.py"
METHODS = {"plain": ":plain", "vib": ":vib", "dab1": ":dab1", "dab": ""}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "1 epochs", "eval.every": "1 epochs"}),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = tuple(dict(id=method, config=f"{CONFIG}{variant}") for method, variant in METHODS.items())
