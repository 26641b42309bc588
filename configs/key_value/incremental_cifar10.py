"""CIFAR-10 two classes at a time, on frozen features: a key-value bottleneck keeps what it learned.

Paper: Traeuble et al. 2023, "Discrete key-value bottleneck" (arXiv:2207.11240), section 5, scaled
down: 64 heads of 256 keys for 256 of 4,096; 4,000 training examples for 50,000; 10 passes over a
group for 2,000; features of EfficientNet-Lite0 for those of larger encoders. Keys are learned on
2,000 training examples that are put aside, without labels; the paper takes another data set.

Command: ibjax train --config=configs/key_value/incremental_cifar10.py \\
  --workdir=runs/incremental_cifar10

Expected: 5 seeds not measured; over 3 seeds (0 to 2), mean ± standard deviation, as measured:
  accuracy on all classes at the end    65.7 ± 1.4 %, forgetting 13.2 ± 2.9 %
  probe                                 22.9 ± 6.2 %, forgetting 83.6 ± 10.4 %
  linear                                18.1 ± 0.8 %, forgetting 97.5 ± 0.8 %
  mlp                                   18.1 ± 0.8 %, forgetting 97.9 ± 0.8 %
  rehearsal                             69.4 ± 1.2 %, forgetting 31.3 ± 1.6 %

Time: about a minute a seed on 2 cores with other work on them.

Arguments: `probe` decodes values by a linear layer; `linear` and `mlp` (128 hidden units) have no
bottleneck; `rehearsal` is the mlp with a memory of 500 examples; `full` has the paper's heads, keys
and passes, not run; `smoke` is the default on scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base
from ibjax.core import continual


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full", "smoke" or one of the other methods."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *continual.METHODS))
  keys = dict(heads=64, keys=256, key_dim=8, start="kmeans++")
  # A value moves by the rate over heads and batch; this is the paper's 0.3 for far fewer passes.
  c = continual.class_incremental("cifar10_effl0", 1280, 10, keys, 60.0)
  c.training.update(dict(epochs=10, batch_size=100))
  continual.learn_keys(c, examples=2000, steps=60, batch_size=500)
  if variant == "full":
    c.recipe.bottleneck.update(dict(heads=256, keys=4096, key_dim=14, start="normal"))
    continual.learn_keys(c, steps=1000)
    c.training.epochs = 2000
  if variant == "smoke":
    c.data.tasks = "digits"
    c.recipe.bottleneck.update(dict(width=64, heads=16, keys=64))
    continual.learn_keys(c, examples=400, steps=30, batch_size=200)
  return continual.method(c, variant)
