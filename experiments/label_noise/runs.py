"""Which runs: six methods on 5,000 images whose labels are partly wrong, with one small network.

784-128-128-32 and a linear decoder, 30 epochs: few right labels for each class, so that the wrong
ones do harm. What is reported is the last epoch's.
"""

DATA = {"mnist": "mnist", "fashion": "tfds:fashion_mnist:3.0.1"}
NOISE = {
  "symmetric-20": ("symmetric", 0.2),
  "symmetric-50": ("symmetric", 0.5),
  "asymmetric-30": ("asymmetric", 0.3),
}

LEFT_OUT = {("fashion", "symmetric-20")}

PLAIN = "configs/supervised/deterministic_mnist.py"
VIB = "configs/variational/vib_mnist.py"
PAIR = "configs/uncertainty/co_teaching_mnist.py"
NESTED = {"bottleneck.fn": "ibjax.bottlenecks.nested_dropout:nested_dropout"}

# Method -> its config, and what it sets.
METHODS = {
  "cross_entropy": (PLAIN, {}),
  "dropout": (PLAIN, {"encoder.dropout": 0.3}),
  "nested": (PLAIN, NESTED),
  "vib": (VIB, {"objective.beta": 1e-2}),
  "co_teaching": (PAIR, {"co_teaching.gradual": "5 epochs"}),
  "nested_co_teaching": (PAIR, {"co_teaching.gradual": "5 epochs", **NESTED}),
}

COMMON = {
  "encoder.hidden": (128, 128),
  "bottleneck.dim": 32,
  "data.validation": 55_000,  # of the training images, which leaves 5,000
  "data.batch_size": 100,
  "optimizer.learning_rate": 1e-3,
}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "5 epochs", "eval.every": "5 epochs"}),
  "full": dict(
    seeds=(0, 1, 2), overrides={"train.duration": "30 epochs", "eval.every": "30 epochs"}
  ),
}


def _overrides(method, source, kind, rate):
  config, own = METHODS[method]
  # Co-teaching's recipe averages no weights; a decay of 0 takes the averaging out of the others.
  values = {
    **COMMON,
    **({} if config == PAIR else {"train.ema": 0.0}),
    "data.source": f"noisy:{kind},rate={rate:g},seed=0:{source}",
    **own,
  }
  if config == PAIR:
    values["co_teaching.forget_rate"] = rate
  return values


CELLS = tuple(
  dict(
    id=f"{data}/{noise}/{method}",
    config=METHODS[method][0],
    overrides=_overrides(method, source, kind, rate),
  )
  for data, source in DATA.items()
  for noise, (kind, rate) in NOISE.items()
  if (data, noise) not in LEFT_OUT
  for method in METHODS
)
