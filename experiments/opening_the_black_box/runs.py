"""Which runs: the tanh network 12-10-7-5-4-3-2 on the twelve-bit task, over initialisations."""

BUDGETS = {
  "quick": dict(seeds=tuple(range(5)), overrides={"train.duration": "2000 steps"}),
  "full": dict(seeds=tuple(range(50))),
}

CELLS = (dict(id="tanh", config="configs/plane/tanh_twelve_bit.py"),)
