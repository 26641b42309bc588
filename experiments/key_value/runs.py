"""Which runs: classes that come two at a time, learned by keys and values and by what has none.

Three problems: the paper's toy of eight Gaussian classes, and frozen features of CIFAR-10 and of
Fashion-MNIST. "all" is the control: the same passes over all classes at once.
"""

METHODS = {"votes": "", "probe": ":probe", "linear": ":linear", "mlp": ":mlp"}
METHODS |= {"rehearsal": ":rehearsal"}
FEATURES = ("cifar10", "fashion")

BUDGETS = {
  "quick": dict(seeds=(0,), overrides={"training.epochs": 1}),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = (
  *(
    dict(id=f"toy/{method}", config=f"configs/key_value/incremental_toy.py{METHODS[method]}")
    for method in ("votes", "linear", "mlp", "rehearsal")
  ),
  *(
    dict(id=f"{data}/{method}", config=f"configs/key_value/incremental_{data}.py{variant}")
    for data in FEATURES
    for method, variant in METHODS.items()
    if (data, method) != ("fashion", "probe")  # not run
  ),
  *(
    dict(
      id=f"{data}/all/{method}",
      config=f"configs/key_value/incremental_{data}.py{METHODS[method]}",
      overrides={"data.split_classes": 10},
    )
    for data in FEATURES
    for method in ("votes", "linear")
  ),
  dict(
    id="fashion/own_keys",
    config="configs/key_value/incremental_fashion.py",
    overrides={"unlabelled.source": ""},
  ),
)
