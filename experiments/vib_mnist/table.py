"""What is shown: the error table, the two curves, robustness."""

BETAS = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)

ERROR = dict(
  key="test/err_frac", header="test error", unit="%", scale=100, digits=2, lower_is_better=True
)
ONE = dict(
  key="test/err_1sample_frac",
  header="error, 1 code",
  unit="%",
  scale=100,
  digits=2,
  lower_is_better=True,
)
RATE = dict(key="test/rate_nats", header="I(Z;X) at most", unit="nats", digits=2)
LABEL = dict(key="test/i_yz_lower_nats", header="I(Z;Y) at least", unit="nats", digits=3)
ECE = dict(key="test/ece_frac", header="ECE", unit="%", scale=100, digits=2, lower_is_better=True)


def attacked(epsilon):
  """Test error after the fast gradient sign attack."""
  return dict(
    key=f"test/fgsm_{epsilon:g}_err_frac",
    header=f"FGSM {epsilon:g}",
    unit="%",
    scale=100,
    digits=1,
    lower_is_better=True,
  )


def curve_rows(dim, paper=()):
  """One row per beta."""
  return tuple(
    dict(label=f"beta = {beta:g}", cell=f"K={dim}/beta={beta:g}")
    | (dict(paper=f"K={dim} beta={beta:g}") if beta in paper else {})
    for beta in BETAS
  )


TABLES = (
  dict(
    name="error",
    title="Test error on MNIST (Alemi et al. 2017, table 1)",
    columns=(ERROR, dict(key="test/nll_nats", header="NLL", unit="nats", digits=4), ECE),
    rows=(
      dict(label="Baseline", cell="table/baseline", paper="baseline"),
      dict(label="Dropout", cell="table/dropout", paper="dropout"),
      dict(label="Label smoothing", cell="table/label_smoothing", paper="label smoothing"),
      dict(label="Confidence penalty", cell="table/confidence_penalty", paper="confidence penalty"),
      dict(label="VIB, beta = 1e-3", cell="table/vib", paper="vib"),
    ),
  ),
  dict(
    name="curve_256",
    title="Over beta, a code of 256 dimensions, and its robustness",
    columns=(ERROR, ONE, RATE, LABEL, attacked(0.1)),
    rows=curve_rows(256),
  ),
  dict(
    name="curve_2",
    title="Over beta, a code of 2 dimensions",
    columns=(ERROR, ONE, RATE, LABEL),
    rows=curve_rows(2, paper=(1e-3, 1e-1, 1.0)),
  ),
)

SERIES = (
  dict(label="K = 256", cells=("K=256/*",)),
  dict(label="K = 2", cells=("K=2/*",)),
)
BETA = dict(config="objective.beta", label="beta", log=True)

FIGURES = (
  dict(
    name="over_beta",
    title="Error and rate against beta",
    x=BETA,
    y=(
      dict(key="test/err_frac", label="test error, %", scale=100, log=True),
      dict(key="test/i_xz_upper_nats", label="I(Z;X) at most, nats", log=True),
    ),
    series=SERIES,
  ),
  dict(
    name="plane",
    title="Information plane",
    x=dict(key="test/i_xz_upper_nats", label="I(Z;X) at most, nats", log=True),
    y=(dict(key="test/i_yz_lower_nats", label="I(Z;Y) at least, nats"),),
    series=SERIES,
  ),
  dict(
    name="robustness",
    title="Under the fast gradient sign attack, K = 256",
    x=BETA,
    # At 0.35 every model is wrong on 99.99 to 100% (the rows of results.jsonl have it).
    y=(dict(key="test/fgsm_0.1_err_frac", label="error at 0.1, %", scale=100),),
    series=SERIES[:1],
  ),
)
