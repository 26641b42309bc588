"""An encoder of Fashion-MNIST without labels: InfoNCE on two views, 784-512-256.

Paper: Chen et al. 2020, "A simple framework for contrastive learning of visual representations"
(arXiv:2002.05709), as the frozen encoder of the key-value bottleneck (Traeuble et al. 2023,
arXiv:2207.11240), which takes far larger published ones.

Command: ibjax train --config=configs/key_value/pretrain_fashion.py --workdir=runs/pretrain_fashion

and then, for a store of its codes, the source activations:fashion_info_nce:

  ibjax data activations runs/pretrain_fashion --layer bottleneck.out --out fashion_info_nce

The labels train a linear probe on the code that moves nothing below it; its error says what the
code is worth.

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4): not measured; seed 0,
the encoder of `experiments/key_value`, has a probe error of 20.9 %.

Time: 3 minutes a seed on 2 cores with other work on them.

Arguments: `full` is 100 epochs, not run; `smoke` is the same method on scikit-learn's digits, in
seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (100 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.self_supervised(base.defaults())
  c.data.source = "tfds:fashion_mnist:3.0.1"
  c.objective = dict(fn="ibjax.objectives.representation.info_nce:info_nce", temperature=0.2)
  # Milder than for digits: clothes are told apart by what strong changes take away.
  c.views.update(dict(shift=0.08, zoom=0.1, stretch=0.1, erase=0.3, noise=0.05))
  return base.self_supervised_variant(c, variant)
