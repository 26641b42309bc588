"""Which runs: an MLP 784-128-128-64-10 on MNIST, over seeds."""

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "1000 steps"}),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = (dict(id="mlp", config="configs/plane/mlp_mnist.py"),)
