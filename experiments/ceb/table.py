"""What is shown: VIB and CEB at the same rate, and both curves."""

NAMES = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
BETAS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
RATES = (6.0, 10.0, 20.0)

COLUMNS = (
  dict(
    key="test/err_frac", header="test error", unit="%", scale=100, digits=2, lower_is_better=True
  ),
  dict(key="test/nll_nats", header="NLL", unit="nats", digits=4, lower_is_better=True),
  dict(key="test/ece_frac", header="ECE", unit="%", scale=100, digits=2, lower_is_better=True),
  dict(
    key="test/fgsm_0.1_err_frac",
    header="FGSM 0.1",
    unit="%",
    scale=100,
    digits=1,
    lower_is_better=True,
  ),
)
RATE = dict(key="test/rate_nats", header="I(Z;X) at most", unit="nats", digits=2)


def matched(data):
  """At each rate: VIB, CEB, and their difference, paired by seed."""
  vib, ceb = (f"{data}/vib/*",), (f"{data}/ceb/*",)
  for rate in RATES:
    yield dict(label=f"VIB at {rate:g} nats", curve=vib, at=rate)
    yield dict(label=f"CEB at {rate:g} nats", curve=ceb, at=rate)
    yield dict(label=f"CEB - VIB at {rate:g} nats", curve=ceb, minus=vib, at=rate)


TABLES = tuple(
  table
  for data, name in NAMES.items()
  for table in (
    dict(
      name=f"matched_{data}",
      title=f"{name}: the same rate, another objective",
      columns=COLUMNS,
      rows=tuple(matched(data)),
    ),
    dict(
      name=f"curve_{data}",
      title=f"{name}: over beta",
      columns=(RATE, *COLUMNS),
      rows=tuple(
        dict(label=f"{method.upper()}, beta = {beta:g}", cell=f"{data}/{method}/beta={beta:g}")
        for method in ("vib", "ceb")
        for beta in BETAS
      ),
    ),
  )
)

FIGURES = tuple(
  dict(
    name=f"rate_{data}",
    title=f"{name}: what a nat buys",
    x=dict(key="test/rate_nats", label="I(Z;X) at most, nats", log=True),
    y=(
      dict(key="test/err_frac", label="test error, %", scale=100),
      dict(key="test/ece_frac", label="ECE, %", scale=100),
      dict(key="test/fgsm_0.1_err_frac", label="error, FGSM 0.1, %", scale=100),
    ),
    series=(
      dict(label="VIB", cells=(f"{data}/vib/*",)),
      dict(label="CEB", cells=(f"{data}/ceb/*",)),
    ),
  )
  for data, name in NAMES.items()
)
