"""A message sent by the actions of a player in a grid, through a bottleneck.

Paper: Ebrahimi, Chen and Khisti 2024, "Minimum entropy coupling with bottleneck"
(arXiv:2410.21666), section 4.

Command: ibjax train --config=configs/coding/coding_game.py --workdir=runs/coding_game

The baseline: --config.code.method=uniform; another limit: --config.code.rate_bits=5.0; another
temperature of the policy: --config.game.log_beta=-6.0

Expected over 200 episodes, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  messages heard                 61.7 ± 2.7 %    (uniform: 23.9 ± 4.1 %)
  messages, told the code        72.3 %
  discounted reward              0.452 ± 0.001   (in closed form: 0.446)

Time: a few seconds.

Arguments: `full` has 2,000 episodes instead of 200; `smoke` 20 with 16 messages.
"""

import ml_collections

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more episodes) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = ml_collections.ConfigDict()
  c.seed = 0  # of messages, actions and slips
  c.program = "ibjax.programs.coding_game:coding_game"
  c.data = ml_collections.ConfigDict(dict(tasks="grid_world", n=200))  # n episodes
  c.world = ml_collections.ConfigDict(dict(fn="ibjax.exact.grid_world:grid_world"))
  c.world.update(size=8, slip=0.1, discount=0.95)
  c.game = ml_collections.ConfigDict(dict(log_beta=-4.5, observed="actions", max_steps=100))
  c.code = ml_collections.ConfigDict(dict(method="greedy", rate_bits=7.0, messages=512))
  if variant == "full":
    c.data.n = 2000
  if variant == "smoke":
    c.data.n = 20
    c.code.messages = 16
    c.code.rate_bits = 3.0
  return c
