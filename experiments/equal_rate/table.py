"""What is shown: every objective at an equal measured I(X;Z), and all their curves."""

METHODS = (
  *("vib", "ceb", "convex", "noise_alone", "nonlinear_ib", "hsic_regularizer"),
  *("matrix_renyi_ib", "deterministic_ib", "cauchy_schwarz_ib", "matrix_entropy", "mcr2"),
)
RATES = (2.5, 3.0)
RATE = "test/i_xz_nats"  # made by `derive`

COLUMNS = (
  dict(
    key="test/err_frac", header="test error", unit="%", scale=100, digits=2, lower_is_better=True
  ),
  dict(key="test/ece_frac", header="ECE", unit="%", scale=100, digits=1, lower_is_better=True),
  dict(
    key="test/fgsm_0.1_err_frac",
    header="FGSM 0.1",
    unit="%",
    scale=100,
    digits=1,
    lower_is_better=True,
  ),
  dict(
    key="outside/kmnist_entropy_auroc_frac",
    header="AUROC by entropy",
    unit="%",
    scale=100,
    digits=1,
    lower_is_better=False,
  ),
  dict(
    key="outside/kmnist_mahalanobis_auroc_frac",
    header="by distance",
    unit="%",
    scale=100,
    digits=1,
    lower_is_better=False,
  ),
  dict(key="test/i_yz_lower_nats", header="I(Y;Z) at least", unit="nats", digits=3),
)
TABLES = tuple(
  dict(
    name=f"at_{rate:g}_nats".replace(".", "_"),
    title=f"At {rate:g} nats of I(X;Z)",
    columns=COLUMNS,
    rows=tuple(
      dict(label=method, curve=(f"{method}/*",), at=rate, rate=RATE) for method in METHODS
    ),
  )
  for rate in RATES
)

FIGURES = (
  dict(
    name="equal_rate",
    title="What a nat of measured I(X;Z) buys, by objective",
    x=dict(key=RATE, label="I(X;Z), nats"),
    y=(
      dict(key="test/err_frac", label="test error, %", scale=100, log=True),
      dict(key="test/ece_frac", label="ECE, %", scale=100),
      dict(key="test/fgsm_0.1_err_frac", label="error, FGSM 0.1, %", scale=100),
      dict(key="outside/kmnist_entropy_auroc_frac", label="AUROC of KMNIST, %", scale=100),
    ),
    series=tuple(dict(label=method, cells=(f"{method}/*",)) for method in METHODS),
  ),
)


def derive(row, config):
  """The middle of the two bounds on I(X;Z), where they are within half a nat of each other."""
  del config
  lower, upper = (row.get(f"test/i_xz_{name}_nats") for name in ("infonce_lower", "loo_upper"))
  if lower is None or upper is None or upper - lower > 0.5 or lower <= 0:
    return {}
  return {RATE: 0.5 * (lower + upper)}
