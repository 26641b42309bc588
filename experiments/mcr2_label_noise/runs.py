"""Which runs: coding rate reduction and cross-entropy over the part of labels drawn anew, on MNIST.

784-512-64 on 10,000 examples, 60 epochs of 10 batches of 1000: few enough for a softmax to learn
wrong labels by heart. The rest of the training split is held out and not used. A label is drawn
anew among all ten classes with the rate's probability, so that nine tenths of the rate are wrong;
the test labels are right.
"""

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
METHODS = ("mcr2", "cross_entropy")
SHARED = {
  "data.validation": 50_000,
  "encoder.hidden": (512,),
  "train.duration": "60 epochs",
  "train.log_every": "20 epochs",
  "eval.every": "60 epochs",
  "eval.batch_size": 5000,
  "checkpoint.every": "60 epochs",
}

BUDGETS = {
  "quick": dict(
    seeds=(0,),
    overrides={
      "train.duration": "10 epochs",
      "eval.every": "10 epochs",
      "checkpoint.every": "10 epochs",
    },
  ),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = tuple(
  dict(
    id=f"{method}/rate={rate:g}",
    config=f"configs/representation/{method}_mnist.py",
    overrides={**SHARED, "data.source": f"noisy:uniform,rate={rate:g},seed=0:mnist"},
  )
  for method in METHODS
  for rate in RATES
)
