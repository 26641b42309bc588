"""What is shown: errors on right test labels, by how many training labels were drawn anew."""

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
METHODS = {"mcr2": "MCR2", "cross_entropy": "cross-entropy"}
PERCENT = dict(unit="%", scale=100, digits=2, lower_is_better=True)

TABLES = (
  dict(
    name="errors",
    title="Test error after training on wrong labels, MNIST, 10,000 examples",
    caption="A label is drawn anew among all ten classes with the probability given.",
    columns=(
      dict(key="subspace/err_frac", header="nearest subspace", **PERCENT),
      dict(key="neighbours/err_frac", header="5 neighbours", **PERCENT),
      dict(key="test/err_frac", header="linear decoder", **PERCENT),
    ),
    rows=tuple(
      dict(label=f"{name}, {100 * rate:g}% drawn anew", cell=f"{method}/rate={rate:g}")
      for rate in RATES
      for method, name in METHODS.items()
    ),
  ),
)

FIGURES = (
  dict(
    name="errors",
    title="MNIST, 10,000 examples: errors of codes learned from wrong labels",
    caption="The training error says how many of the given labels were learned.",
    x=dict(key="noise_rate", label="part of labels drawn anew"),
    y=(
      dict(key="subspace/err_frac", label="error, nearest subspace, %", scale=100),
      dict(key="neighbours/err_frac", label="error, 5 neighbours, %", scale=100),
      dict(key="test/err_frac", label="error, linear decoder, %", scale=100),
    ),
    series=tuple(dict(label=name, cells=(f"{method}/rate=*",)) for method, name in METHODS.items()),
  ),
)


def derive(row, config):
  """The rate of the noise, from the name of the data."""
  return {"noise_rate": float(config["data"]["source"].partition("rate=")[2].partition(",")[0])}
