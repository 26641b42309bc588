"""Which runs: what the plane's critics changed, on the twelve-bit task.

Saxe et al.: the network 12-10-7-5-4-3-2 with tanh or ReLU, in bins of one width. Chelombiev et
al.: 12-5-5-5-5-5-2 with five activations under estimators that adapt, with and without L2; and
ReLU over many initialisations, for what goes with generalisation.
"""

SAXE = "configs/plane/tanh_twelve_bit.py"
ADAPTIVE = "configs/plane/activations_twelve_bit.py"
ACTIVATIONS = ("tanh", "relu", "softplus", "elu", "swish")
MANY, FEW = tuple(range(16)), tuple(range(4))

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"train.duration": "1000 steps"}),
  "full": dict(seeds=FEW),
}


def chelombiev(activation, l2):
  """One activation, with or without the penalty."""
  overrides = {"encoder.activation": activation, "optimizer.l2": l2}
  if activation == "tanh":
    overrides |= {"encoder.gain": 1.0, "decoder.gain": 1.0}
  cell = dict(id=f"{activation}/l2={l2:g}", config=ADAPTIVE, overrides=overrides)
  return cell | (dict(seeds=MANY) if (activation, l2) in MANY_OF else {})


MANY_OF = (("relu", 0.0), ("tanh", 0.0))

CELLS = (
  *(
    dict(
      id=f"saxe/{activation}",
      config=SAXE,
      overrides={"encoder.activation": activation, "encoder.fan": "fan_out"},
    )
    for activation in ("tanh", "relu")
  ),
  *(chelombiev(activation, l2) for activation in ACTIVATIONS for l2 in (0.0, 0.015)),
)
