"""Which runs: every objective that prices information, on one network and MNIST.

784-256-256-16 and a linear decoder, 2 epochs of batch 256. An objective that prices the noise of
its code learns that noise, and is run over its beta. One that does not (a kernel between examples
sees little of it) would let it vanish, and I(X;Z) with it grow without limit: its code is bounded,
with fixed noise, at one beta, and is run over the scale of the noise. So is the code that nothing
but the noise limits. Betas and scales were chosen, by one seed, to lie around 2 to 5 nats of
measured I(X;Z); the fixed betas for the smallest test of compression that kept the error (the
smallest of a few tried, not a search).
"""

LEARNED = {
  "vib": ("variational.vib", (0.01, 0.03, 0.1, 0.2)),
  "ceb": ("variational.ceb", (0.01, 0.03, 0.1, 0.6)),
  "convex": ("wrappers.convex", (0.0005, 0.002, 0.006, 0.02)),
}
FIXED = {
  "noise_alone": ("variational.vib:vib", 0.0),
  "nonlinear_ib": ("variational.nonlinear_ib:nonlinear_ib", 0.05),
  "hsic_regularizer": ("kernel.hsic_regularizer:hsic_regularizer", 0.03),
  "matrix_renyi_ib": ("kernel.matrix_renyi_ib:matrix_renyi_ib", 0.3),
  "deterministic_ib": ("kernel.deterministic_ib:deterministic_ib", 0.3),
  "cauchy_schwarz_ib": ("kernel.cauchy_schwarz_ib:cauchy_schwarz_ib", 0.1),
  "matrix_entropy": ("kernel.matrix_entropy:matrix_entropy", 0.1),
  "mcr2": ("representation.mcr2:mcr2", 1.0),
}
SCALES = (0.3, 0.5, 0.8, 1.2)

BUDGETS = {
  "quick": dict(seeds=(0,), overrides={"train.duration": "1 epochs", "eval.every": "1 epochs"}),
  "full": dict(seeds=(0, 1, 2)),
}

CELLS = tuple(
  dict(
    id=f"{method}/beta={beta:g}",
    config="configs/comparison/learned_noise_mnist.py",
    overrides={"objective.fn": f"ibjax.objectives.{path}:{method}", "objective.beta": beta},
  )
  for method, (path, betas) in LEARNED.items()
  for beta in betas
) + tuple(
  dict(
    id=f"{method}/scale={scale:g}",
    config="configs/comparison/fixed_noise_mnist.py",
    overrides={
      "objective.fn": f"ibjax.objectives.{path}",
      "objective.beta": beta,
      "bottleneck.scale": scale,
    },
  )
  for method, (path, beta) in FIXED.items()
  for scale in SCALES
)
