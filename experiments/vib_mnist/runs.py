"""Which runs: the error table, and curves over beta for codes of 256 and of 2 dimensions.

`full` is what two CPU cores do in about an hour: 6 epochs for the table and 3 for the curves, where
the paper trains 200. `paper` is the paper's schedule, for a GPU; it was not run.
"""

BETAS = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)
VIB = "configs/variational/vib_mnist.py"
PLAIN = "configs/supervised/deterministic_mnist.py"


def lasting(quick, full):
  """Durations of each budget, evaluated once, at the end."""
  epochs = {"quick": f"{quick} epochs", "full": f"{full} epochs", "paper": "200 epochs"}
  return {budget: {"train.duration": text, "eval.every": text} for budget, text in epochs.items()}


# Alemi et al.'s demonstration: batch 100, Adam 1e-4 with b1 = 0.5, 0.97 every 2 epochs.
SCHEDULE = {
  "data.batch_size": 100,
  "optimizer.learning_rate": 1e-4,
  "checkpoint.every": "10 epochs",
}

BUDGETS = {
  "quick": dict(seeds=(0, 1)),
  "full": dict(seeds=(0, 1, 2, 3, 4)),
  "paper": dict(seeds=(0, 1, 2, 3, 4), overrides=SCHEDULE),
}

CELLS = (
  *(
    dict(id=f"table/{name}", config=config, overrides=overrides, budget_overrides=lasting(2, 6))
    for name, config, overrides in (
      ("baseline", PLAIN, {}),
      ("dropout", PLAIN, {"encoder.dropout": 0.2}),
      ("label_smoothing", PLAIN, {"objective.label_smoothing": 0.1}),
      ("confidence_penalty", PLAIN, {"objective.confidence_penalty": 0.1}),
      ("vib", VIB, {"objective.beta": 1e-3}),
    )
  ),
  *(
    dict(
      id=f"K={dim}/beta={beta:g}",
      config=VIB,
      overrides={
        "bottleneck.dim": dim,
        "objective.beta": beta,
        # One signed gradient step of so much of the range of a pixel.
        "eval.fgsm": (0.1, 0.35) if dim == 256 else (),
      },
      budget_overrides=lasting(1, 3),
    )
    for dim in (256, 2)
    for beta in BETAS
  ),
)
