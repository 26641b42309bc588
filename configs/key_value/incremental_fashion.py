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

Expected: 5 seeds not measured; over 3 seeds (0 to 2), mean ± standard deviation, as measured:
  accuracy on all classes at the end    69.5 ± 3.8 %, forgetting 25.1 ± 6.4 %
  the same, keys of Fashion-MNIST       78.9 ± 0.2 %, forgetting  8.8 ± 0.3 %
  linear                                30.3 ± 7.3 %, forgetting 79.6 ± 10.9 %
  mlp                                   25.9 ± 5.7 %, forgetting 86.1 ± 9.1 %
  rehearsal                             71.2 ± 4.2 %, forgetting 27.2 ± 7.0 %

Time: about a minute a seed on 2 cores with other work on them.

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
