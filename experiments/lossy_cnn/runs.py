"""Which runs: a small convolutional network with noise before every layer on MNIST, over seeds."""

BUDGETS = {
  "quick": dict(seeds=(0,), overrides={"train.duration": "0.5 epochs"}),
  "full": dict(seeds=(0, 1, 2, 3)),
}

CELLS = (dict(id="cnn", config="configs/plane/cnn_mnist.py"),)
