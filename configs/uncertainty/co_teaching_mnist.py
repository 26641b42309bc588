"""Co-teaching on MNIST with half of the training labels wrong: two networks of 784-256-256-10.

Paper: Han et al. 2018, "Co-teaching: robust training of deep neural networks with extremely noisy
labels" (arXiv:1804.06872): MNIST with 50% symmetric noise is one of its problems. Its network is a
convolutional one of nine layers, trained for 200 epochs; this is a small perceptron.

Command: ibjax train --config=configs/uncertainty/co_teaching_mnist.py --workdir=runs/co_teaching

Expected on the test split, whose labels are right, mean ± standard deviation over 5 seeds (0 to 4)
with the same wrong labels, as measured:
  error                       5.70 ± 0.05 %    (5.76, 5.70, 5.66, 5.65, 5.74)
  NLL                         0.204 ± 0.004 nats
  ECE                         1.54 ± 0.10 %

Time: under a minute a seed on 2 shared cores (5 epochs).

Arguments: `full` is 200 epochs of batch 100, not measured; `smoke` is the same method on
scikit-learn's digits with 40% of the labels wrong, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.program = "ibjax.programs.co_teaching:co_teaching"
  c.data.source = "noisy:symmetric,rate=0.5,seed=0:mnist"
  c.co_teaching = dict(forget_rate=0.5, gradual="2 epochs")
  c.encoder.hidden = (256,)
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity", dim=256)
  c.train.duration = "5 epochs"
  c.eval.samples = 1
  if variant == "full":
    base.paper_schedule(c)
    c.co_teaching.gradual = "10 epochs"
  if variant == "smoke":
    base.shrink(c)
    c.data.source = "noisy:symmetric,rate=0.4,seed=0:digits"
    c.co_teaching = dict(forget_rate=0.4, gradual="1 epochs")
    c.bottleneck.dim = 32
    c.eval.samples = 1
  return c
