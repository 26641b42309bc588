"""One network, any objective: what all are compared with at equal information, on MNIST.

Paper: none; the comparison is this project's own (experiments/equal_rate). VIB is the default; an
override of config.objective.fn puts another objective in its place.

Command: ibjax train --config=configs/comparison/equal_rate_mnist.py --workdir=runs/equal_rate \
  --config.objective.fn=ibjax.objectives.variational.nonlinear_ib:nonlinear_ib

Expected on the test split: see experiments/equal_rate, which has mean and interval over its seeds
(3, not the usual 5 seeds) for each objective and beta, as measured; nothing ± else is claimed.

Time: about 15 s on 2 cores for VIB (3 epochs). It needs Kuzushiji-MNIST's test digits as the
outside set (`ibjax data list`).

Arguments: `full` is 200 epochs of batch 100, not measured; `smoke` is the same method on
scikit-learn's digits, in seconds.
"""

from ibjax.core import config as base


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is "", "full" (200 epochs) or "smoke" (seconds)."""
  variant = base.choose_variant(argument)
  c = base.defaults()
  c.data.batch_size = 256
  c.encoder.hidden = (256, 256)
  # Few dimensions and much noise at first, so that weak penalties move it too.
  c.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=16, scale_shift=-1.0)
  c.objective = dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-2)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "3 epochs"
  c.eval.every = "3 epochs"
  c.eval.batch_size = 2000  # the bounds on I(X;Z) are close up to log 2000 = 7.6 nats
  c.eval.fgsm = (0.1,)
  c.checkpoint.every = "3 epochs"
  if variant == "full":
    base.paper_schedule(c)
  if variant == "smoke":
    base.shrink(c)
  else:
    outside = dict(
      fn="ibjax.evaluators.outside:outside", sources=("kmnist",), fit_examples=5000, examples=2000
    )
    c.assess = dict(ood=outside)
  return c
