"""What is shown: for each data set and noise, each method's test error after the last epoch."""

DATA = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}
NOISE = {
  "symmetric-20": "20% symmetric noise",
  "symmetric-50": "50% symmetric noise",
  "asymmetric-30": "30% asymmetric noise",
}
METHODS = {
  "cross_entropy": "Cross-entropy",
  "dropout": "Dropout",
  "nested": "Nested Dropout",
  "vib": "VIB",
  "co_teaching": "Co-teaching",
  "nested_co_teaching": "Nested Dropout + Co-teaching",
}

COLUMNS = (
  dict(
    key="test/err_frac", header="test error", unit="%", scale=100, digits=2, lower_is_better=True
  ),
  dict(key="test/nll_nats", header="test NLL", unit="nats", digits=3, lower_is_better=True),
  dict(key="test/ece_frac", header="test ECE", unit="%", scale=100, digits=1, lower_is_better=True),
)

TABLES = tuple(
  dict(
    name=f"{data}_{noise.replace('-', '_')}",
    title=f"{name}, {text}",
    columns=COLUMNS,
    rows=tuple(
      dict(label=label, cell=f"{data}/{noise}/{method}") for method, label in METHODS.items()
    ),
  )
  for data, name in DATA.items()
  for noise, text in NOISE.items()
  if (data, noise) != ("fashion", "symmetric-20")
)

FIGURES = ()
