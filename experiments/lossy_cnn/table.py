"""What is shown: each layer's place in the plane before training, at its most, and after."""

LAYERS = ("convolution 1", "convolution 2", "convolution 3", "dense (32)", "logits (10)")


def table(name, title, what):
  """One quantity, a column per layer."""
  return dict(
    name=name,
    title=title,
    caption="Of 2,000 test images; image and layer compressed to 4 principal components each.",
    columns=tuple(
      dict(key=f"plane/lossy/layer_{k}/{what}_nats", header=layer, unit="nats", digits=2)
      for k, layer in enumerate(LAYERS, start=1)
    ),
    rows=(dict(label="CNN", cell="cnn"),),
  )


TABLES = (
  table("first", "I(X;T) before training", "i_xt_first"),
  table("largest", "Largest I(X;T)", "i_xt_max"),
  table("last", "I(X;T) after training", "i_xt"),
  table("compression", "Compression, the largest I(X;T) less the last", "i_xt_compression"),
  table("label_first", "I(T;Y) before training", "i_ty_first"),
  table("label", "I(T;Y) after training", "i_ty"),
  dict(
    name="error",
    title="Test error",
    columns=(dict(key="test/err_frac", header="test error", unit="%", scale=100, digits=2),),
    rows=(dict(label="CNN", cell="cnn"),),
  ),
)

FIGURES = ()

PLANES = (
  dict(
    name="plane",
    title="A noisy CNN on MNIST, compressed",
    caption=(
      "Numbers: layers (1 to 3 after each convolution, 4 dense, 5 logits). Colour: training step. "
      "Dashed: the most that a code of that I(X;T) can know of Y. Raw values, not smoothed."
    ),
    panels=(dict(label="28x28, three convolutions, 32, 10", cell="cnn", estimator="lossy"),),
  ),
)
