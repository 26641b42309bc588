"""Outside inputs with Fashion-MNIST inside: a distance aware bottleneck of 8 dimensions, assessed.

Paper: Apostolopoulou et al. 2024, "A rate-distortion view of uncertainty quantification"
(arXiv:2406.10775): its method and measures on other data, with a small network (784-256-256), so
there is no published number. MNIST and Kuzushiji-MNIST are the outside.

Command: ibjax train --config=configs/uncertainty/outside_fashion.py --workdir=runs/outside_fashion

Expected on the test split, mean ± standard deviation over 5 seeds (0 to 4), as measured:
  error, 12 codes averaged    14.02 ± 0.14 %    (14.16, 13.84, 14.14, 14.04, 13.94)
  rate, I(X;Z) at most        17.4 ± 0.4 nats
  NLL of the averaged codes   0.396 ± 0.004 nats
and the AUROC of
  MNIST, distance             86.3 ± 0.9 %    (85.4, 87.3, 86.5, 87.1, 85.4)
  MNIST, 50th neighbour       98.1 ± 0.5 %    (97.9, 97.3, 98.5, 98.5, 98.2)
  KMNIST, distance            86.3 ± 1.5 %    (84.6, 86.9, 87.2, 88.0, 84.9)
  KMNIST, 50th neighbour      93.8 ± 1.5 %    (91.4, 94.6, 94.5, 95.3, 93.3)
  KMNIST, largest probability 77.9 ± 1.3 %    (78.6, 75.6, 78.9, 77.9, 78.3)
  own errors, distance        75.0 ± 1.4 %    (77.2, 73.4, 75.1, 75.1, 74.3)
  own errors, largest prob.   87.6 ± 0.2 %    (87.3, 87.5, 87.8, 87.9, 87.7)

Time: about a minute a seed on 2 cores.

Arguments: `plain` (a deterministic code of 256 dimensions), `vib` (a Gaussian code of 8) and `dab1`
(a codebook of one Gaussian) are the same run of other methods; `full` is 200 epochs, not measured;
`smoke` is the distance aware bottleneck on scikit-learn's digits, told from themselves, in seconds.
"""

from ibjax.core import config as base

METHODS = ("plain", "vib", "dab1")


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full", "smoke" or one of the other methods."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *METHODS))
  c = base.defaults()
  c.data.source = "tfds:fashion_mnist:3.0.1"
  c.encoder.hidden = (256, 256)
  c.train.duration = "3 epochs"
  c.eval.every = "3 epochs"
  if variant == "plain":
    c.encoder.hidden = (256,)
    c.encoder.activate_out = True
    c.bottleneck.dim = 256
    c.eval.samples = 1  # nothing is sampled
  else:
    c.bottleneck = dict(fn="ibjax.bottlenecks.distance_aware:distance_aware", dim=8)
    c.bottleneck.components = 1 if variant == "dab1" else 10
    c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-3)
  if variant == "vib":
    c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=8, prior="standard")
  sources = ("mnist", "kmnist")
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
    sources = ("digits",)
  room = "ibjax.evaluators"
  c.assess = dict(
    outside=dict(fn=f"{room}.outside:outside", sources=sources),
    errors=dict(fn=f"{room}.misclassification:misclassification"),
    corrupted=dict(fn=f"{room}.corruptions:corruptions", severities=(1, 3, 5), examples=1000),
  )
  return c
