"""What is shown: each layer's largest and last place in the plane, and the mean plane."""

BITS = 1 / 0.6931471805599453
LAYERS = ("10 units", "7 units", "5 units", "4 units", "3 units", "prediction")
ALL = "Over all 4096 words; H(X) = 12 bits, H(Y) = 0.999 bits."
BINS = {"binned": "30 edges in [-1, 1]", "width": "bins of width 0.07"}


def table(name, title, what):
  """One quantity, a column per layer, a row per binning."""
  return tuple(
    dict(
      name=f"{name}_{estimator}",
      title=f"{title}, {binning}",
      caption=ALL,
      columns=tuple(
        dict(
          key=f"plane/{estimator}/layer_{k}/{what}_nats",
          header=layer,
          unit="bits",
          scale=BITS,
          digits=2,
        )
        for k, layer in enumerate(LAYERS, start=1)
      ),
      rows=(dict(label="tanh", cell="tanh"),),
    )
    for estimator, binning in BINS.items()
  )


TABLES = (
  *table("largest", "Largest I(X;T) over training", "i_xt_max"),
  *table("last", "I(X;T) at the end", "i_xt"),
  *table("compression", "Compression, the largest I(X;T) less the last", "i_xt_compression"),
  *table("label", "I(T;Y) at the end", "i_ty"),
  dict(
    name="error",
    title="Error",
    columns=(
      dict(key="train_split/err_frac", header="training error", unit="%", scale=100, digits=2),
      dict(key="test/err_frac", header="test error", unit="%", scale=100, digits=2),
    ),
    rows=(dict(label="tanh", cell="tanh"),),
  ),
)

FIGURES = ()

PLANES = (
  dict(
    name="plane",
    title="Information plane of a tanh network, mean over initialisations",
    caption=(
      "Numbers: layers, 6 is the prediction. Colour: training step. Dashed: the most that a code "
      "of that I(X;T) can know of Y."
    ),
    panels=tuple(
      dict(label=binning, cell="tanh", estimator=estimator) for estimator, binning in BINS.items()
    ),
  ),
  dict(
    name="gradients",
    title="Signal to noise of the gradients",
    caption=(
      "Norm of the mean gradient over six mini-batches by the norm of their standard deviation, at "
      "fixed weights."
    ),
    panels=(dict(label="layers", cell="tanh", over_steps="/snr", of="gradient/"),),
  ),
)
