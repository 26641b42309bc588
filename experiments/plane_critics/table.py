"""What is shown: compression by layer, activation, estimator and penalty; what goes with errors."""

BITS = 1 / 0.6931471805599453
ACTIVATIONS = ("tanh", "relu", "softplus", "elu", "swish")
ERROR = dict(
  key="test/err_frac", header="test error", unit="%", scale=100, digits=1, lower_is_better=True
)


def derive(row, config):
  """Accuracy, and how much smaller the training error is."""
  return {
    "test/accuracy_frac": 1.0 - row["test/err_frac"],
    "gap_frac": row["test/err_frac"] - row["train_split/err_frac"],
  }


def compressions(estimator, layers):
  """A column per layer."""
  return tuple(
    dict(
      key=f"plane/{estimator}/layer_{layer}/i_xt_compression_nats",
      header=f"layer {layer}",
      unit="bits",
      scale=BITS,
      digits=2,
    )
    for layer in layers
  )


def by_activation(name, estimator, title, words):
  """A table of one estimator, over activations with and without L2."""
  return dict(
    name=name,
    title=title,
    caption=f"Compression: the largest I(X;T) over training less the last, over {words}.",
    columns=(*compressions(estimator, range(1, 6)), ERROR),
    rows=tuple(
      dict(label=f"{activation}{', L2' if l2 else ''}", cell=f"{activation}/l2={l2:g}")
      for activation in ACTIVATIONS
      for l2 in (0.0, 0.015)
    ),
  )


TABLES = (
  dict(
    name="saxe",
    title="Compression in bins of width 0.07 (Saxe et al.)",
    caption="Compression: the largest I(X;T) over training less the last, over all 4096 words.",
    columns=(*compressions("width", range(1, 7)), ERROR),
    rows=(
      dict(label="tanh", cell="saxe/tanh"),
      dict(label="ReLU", cell="saxe/relu"),
    ),
  ),
  by_activation("ebab", "ebab", "Compression by entropy-based adaptive binning", "all 4096 words"),
  by_activation(
    "akde",
    "akde",
    "Compression by adaptive kernel density estimation",
    "1,024 of the 4096 words, whose I(X;T) is at most 10 bits",
  ),
)

FIGURES = ()


def generalisation(name, estimator, title):
  """Compression of each layer against test accuracy over initialisations."""
  return dict(
    name=name,
    title=title,
    key="test/accuracy_frac",
    label="test accuracy",
    columns=tuple(
      dict(key=f"plane/{estimator}/layer_{layer}/i_xt_compression_nats", header=f"layer {layer}")
      for layer in range(1, 6)
    ),
    rows=(
      dict(label="relu", cell="relu/l2=0"),
      dict(label="tanh", cell="tanh/l2=0"),
    ),
  )


CORRELATIONS = (
  generalisation(
    "generalisation_ebab", "ebab", "Compression and test accuracy over initialisations (EBAB)"
  ),
  generalisation(
    "generalisation_akde", "akde", "Compression and test accuracy over initialisations (aKDE)"
  ),
)


def panels(estimator, cells):
  """A panel per cell."""
  return tuple(dict(label=label, cell=cell, estimator=estimator) for label, cell in cells)


KEY = "Numbers: layers. Colour: training step. Dashed: the most that such a code can know of Y."

PLANES = (
  dict(
    name="plane_saxe",
    title="Bins of width 0.07: tanh and ReLU",
    caption=KEY,
    panels=panels("width", (("tanh", "saxe/tanh"), ("ReLU", "saxe/relu"))),
  ),
  dict(
    name="plane_ebab",
    title="Entropy-based adaptive binning, without and with L2",
    caption=KEY,
    panels=panels(
      "ebab",
      [
        (f"{activation}{', L2' if l2 else ''}", f"{activation}/l2={l2:g}")
        for l2 in (0.0, 0.015)
        for activation in ("tanh", "relu", "softplus")
      ],
    ),
  ),
  dict(
    name="plane_akde",
    title="Adaptive kernel density estimation, without and with L2",
    caption=KEY + " Over 1,024 words, so that I(X;T) is at most 10 bits.",
    panels=panels(
      "akde",
      [
        (f"{activation}{', L2' if l2 else ''}", f"{activation}/l2={l2:g}")
        for l2 in (0.0, 0.015)
        for activation in ("tanh", "relu", "softplus")
      ],
    ),
  ),
)
