"""Six objectives for regression on one network: California Housing, and any other set of targets.

Paper: Yu et al. 2024, "Cauchy-Schwarz divergence information bottleneck for regression" (ICLR 2024,
arXiv:2404.17951): d-128-128-128, a code of 128 dimensions and a decoder 128-128-1, alike for
all. Its tables could not be read, so no number of it stands here. Smaller than in the paper: 1500
steps of Adam at 1e-3 with a cosine, in place of 200 epochs at 1e-4.

Command: ibjax train --config=configs/regression/bottlenecks_california.py:cs --workdir=runs/cs

Expected on the test split, mean ± standard deviation over 5 seeds: not run. experiments/cs_ib has
three seeds of all six on six sets, with the betas that validation data choose.

Time: about 20 s of one core each, half of it the compilation.

The test RMSE, in the logarithm of the price here, is the row's errors/test_rmse; its RMSE under
attack attacks/..., and the compression code/qmi_ratio. The data are placed by hand: `ibjax data
info regression:california` says what goes where.

Arguments: the method, `mse` (no bottleneck), `vib`, `nib`, `hsic`, `renyi` or `cs`; nothing is
`vib`. `full` is `vib` for 200 epochs; `smoke` is `vib` on a few turned digits, in seconds.
"""

from ibjax.core import config as base

# Method -> its objective and its channel. "mse" is the Gaussian likelihood with a learned variance,
# whose mean is fitted by squared errors.
OBJECTIVES = {
  "mse": dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy"),
  "vib": dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-2),
  "nib": dict(fn="ibjax.objectives.variational.nonlinear_ib:nonlinear_ib", beta=1e-1),
  "hsic": dict(
    fn="ibjax.objectives.kernel.hsic_regularizer:hsic_regularizer", beta=1e-1, form="cka"
  ),
  "renyi": dict(fn="ibjax.objectives.kernel.matrix_renyi_ib:matrix_renyi_ib", beta=1e-1),
  "cs": dict(fn="ibjax.objectives.kernel.cauchy_schwarz_ib:cauchy_schwarz_ib", beta=1e-2),
}
CHANNELS = {
  "vib": dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=128, scale_shift=-3.0),
  "nib": dict(fn="ibjax.bottlenecks.homoscedastic:homoscedastic", dim=128, scale=0.5),
}
NO_NOISE = dict(fn="ibjax.bottlenecks.identity:identity", dim=128)


def get_config(argument: str = ""):
  """Returns the recipe; `argument` is a method, "" or "full" or "smoke" (of VIB)."""
  variant = base.choose_variant(argument, (*base.VARIANTS, *OBJECTIVES))
  method = variant if variant in OBJECTIVES else "vib"
  c = base.defaults()
  c.data.source = "regression:california"
  c.data.batch_size = 128
  c.encoder.hidden = (128, 128, 128)
  c.bottleneck = dict(CHANNELS.get(method, NO_NOISE))
  c.decoder.hidden = (128,)
  c.objective = dict(OBJECTIVES[method])
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "1500 steps"
  c.train.log_every = "500 steps"
  c.eval.every = "1500 steps"
  c.eval.batch_size = 500
  c.eval.samples = 4 if method in CHANNELS else 1
  c.checkpoint.every = "1500 steps"
  c.assess.errors = dict(fn="ibjax.evaluators.target_errors:target_errors")
  c.assess.attacks = dict(
    fn="ibjax.evaluators.attacks:attacks", epsilons=(0.1, 0.2, 0.3), examples=1000
  )
  c.assess.code = dict(fn="ibjax.evaluators.compression:compression")
  if variant == "full":
    c.train.duration = "200 epochs"
    c.optimizer.learning_rate = 1e-4
    c.eval.every = "20 epochs"
    c.checkpoint.every = "20 epochs"
  if variant == "smoke":
    c.data.source = "rotated_mnist:n=512,n_validation=32,n_test=128"
    c.data.batch_size = 64
    c.encoder.hidden = (32, 32)
    c.bottleneck.dim = 8
    c.decoder.hidden = ()
    c.train.duration = "40 steps"
    c.train.steps_per_dispatch = 20
    c.train.log_every = "20 steps"
    c.eval.every = "40 steps"
    c.eval.batch_size = 128
    c.eval.samples = 2
    c.checkpoint.every = "40 steps"
    c.assess.attacks.epsilons = (0.1,)
    c.assess.attacks.steps = 2
  return c
