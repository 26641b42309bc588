"""Joint entropy of couplings of random marginals.

Paper: Ebrahimi, Chen and Khisti 2024, "Minimum entropy coupling with bottleneck"
(arXiv:2410.21666), table 1.

Command: ibjax train --config=configs/coding/couplings.py --workdir=runs/couplings

Another coupling: --config.coupling.method=zero_seeking, or independent.

Expected over 100 pairs of 20 letters, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  joint entropy, max-seeking     2.947 ± 0.004 nats    (published: 2.946)
  joint entropy, zero-seeking    2.935 ± 0.004 nats    (2.937)
  joint entropy, independent     5.450 ± 0.011 nats    (5.443)

Time: a second.

Arguments: `full` has 2,000 pairs instead of 100; `smoke` 10.
"""

import ml_collections

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (more pairs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = ml_collections.ConfigDict()
  c.seed = 0  # of the marginals
  c.program = "ibjax.programs.couplings:couplings"
  c.data = ml_collections.ConfigDict(dict(tasks="half_normal", n=100))
  c.coupling = ml_collections.ConfigDict(dict(method="max_seeking", size=20))
  if variant == "full":
    c.data.n = 2000
  if variant == "smoke":
    c.data.n = 10
  return c
