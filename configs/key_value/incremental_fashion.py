"""Fashion-MNIST two classes at a time, on features learned without labels: keys from MNIST.

Paper: Traeuble et al. 2023, "Discrete key-value bottleneck" (arXiv:2207.11240), section 5, with
another data set and encoder, scaled down: 64 heads of 256 keys, 10,000 training examples, 5 passes
over a group. As in the paper keys are learned on another data set: MNIST, by the same encoder.

Command: ibjax train --config=configs/key_value/incremental_fashion.py \\
  --workdir=runs/incremental_fashion

after the encoder, and the codes of both sets:

  ibjax train --config=configs/key_value/pretrain_fashion.py --workdir=runs/pretrain_fashion
  ibjax data activations runs/pretrain_fashion --layer bottleneck.out --out fashion_info_nce
  ibjax data activations runs/pretrain_fashion --layer bottleneck.out --source mnist \\
    --out mnist_by_fashion_info_nce

Expected over 5 seeds (0 to 4), mean ± standard deviation: not measured; `experiments/key_value`
has 3 seeds.

Time: well below a minute a seed.

Arguments: `probe` decodes values by a linear layer; `linear` and `mlp` (128 hidden units) have no
bottleneck; `rehearsal` is the mlp with a memory of 500 examples; `full` has the paper's heads, keys
and 500 passes, not run; `smoke` is the default on scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base
from ibjax.core import continual


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full", "smoke" or one of the other methods."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *continual.METHODS))
  keys = dict(heads=64, keys=256, key_dim=8, start="kmeans++")
  c = continual.class_incremental("activations:fashion_info_nce", 256, 10, keys, 60.0)
  c.data.n = 10_000
  c.training.update(dict(epochs=5, batch_size=100))
  aside = dict(source="activations:mnist_by_fashion_info_nce", examples=10_000)
  continual.learn_keys(c, **aside, steps=100, batch_size=500)
  if variant == "full":
    c.data.n = 0
    c.recipe.bottleneck.update(dict(heads=256, keys=4096, key_dim=14, start="normal"))
    continual.learn_keys(c, steps=1000)
    c.training.epochs = 500
  if variant == "smoke":
    c.data.update(dict(tasks="digits", n=1000))
    c.recipe.bottleneck.update(dict(width=64, heads=16, keys=64))
    continual.learn_keys(c, source="digits", examples=400, steps=30, batch_size=200)
  return continual.method(c, variant)
