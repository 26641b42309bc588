"""Which runs: couplings of random marginals, and the coding game over temperature, rate and code.

A run of "table1" is 100 pairs of marginals; the methods of one seed see the same pairs. A run of
"game" is 200 episodes.
"""

COUPLINGS = ("independent", "max_seeking", "zero_seeking")
LOG_BETAS = (-6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.0)
# Bits; a message has nine. At nine both codes send the message itself.
RATES = {"greedy": (9.0, 7.0, 5.0, 3.0), "uniform": (7.0, 5.0, 3.0)}

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"data.n": 20}),
  "full": dict(seeds=(0, 1, 2, 3, 4)),
}

CELLS = (
  *(
    dict(
      id=f"table1/{method}",
      config="configs/coding/couplings.py",
      overrides={"coupling.method": method},
    )
    for method in COUPLINGS
  ),
  *(
    dict(
      id=f"game/{method}/rate={rate:g}/log_beta={log_beta:g}",
      config="configs/coding/coding_game.py",
      overrides={"code.method": method, "code.rate_bits": rate, "game.log_beta": log_beta},
    )
    for method, rates in RATES.items()
    for rate in rates
    for log_beta in LOG_BETAS
  ),
)
