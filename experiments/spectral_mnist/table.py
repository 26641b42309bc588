"""What is shown: spectral entropy, effective dimension and local rank, at the start and the end."""


def table(name, title, names, tail="", unit="", digits=2, caption=""):
  """First and last value of a quantity, a pair of columns per layer."""
  return dict(
    name=name,
    title=title,
    caption=caption,
    columns=tuple(
      dict(key=f"plane/{key}{word}{tail}", header=f"{header} {when}", unit=unit, digits=digits)
      for key, header in names
      for word, when in (("_first", "before"), ("", "after"))
    ),
    rows=(dict(label="784-128-128-64-10", cell="mlp"),),
  )


LAYERS = (1, 2, 3)
DSE = "Of 1,000 test images, sigma = 10, t = 1; before and after training."
RANK = (
  "Singular values of the Jacobian of the pre-activation above 1e-3 of the largest, mean over 32 "
  "training images; before and after training."
)
RANKED = (
  ("rank/encoder/dense_0/relative", "layer 1"),
  ("rank/encoder/dense_1/relative", "layer 2"),
  ("rank/encoder/dense_2/relative", "layer 3"),
  ("rank/decoder/dense_0/relative", "logits"),
)

TABLES = (
  table("dse", "DSE", [(f"dse/layer_{k}/nats", f"layer {k}") for k in LAYERS], "", "nats", 2, DSE),
  table(
    "dsmi",
    "DSMI with the label",
    [(f"dsmi/layer_{k}/i_ty", f"layer {k}") for k in LAYERS],
    "_nats",
    "nats",
    2,
    DSE,
  ),
  table(
    "effective",
    "Effective dimension",
    [(f"effective/layer_{k}/dim", f"layer {k}") for k in LAYERS],
    digits=1,
    caption="Of 1,000 test images; before and after training.",
  ),
  table("rank", "Local rank", RANKED, digits=1, caption=RANK),
  dict(
    name="rank_max",
    title="Local rank: the largest through training",
    caption=RANK,
    columns=tuple(dict(key=f"plane/{key}_max", header=header, digits=1) for key, header in RANKED),
    rows=(dict(label="784-128-128-64-10", cell="mlp"),),
  ),
  dict(
    name="error",
    title="Test error",
    columns=(dict(key="test/err_frac", header="test error", unit="%", scale=100, digits=2),),
    rows=(dict(label="784-128-128-64-10", cell="mlp"),),
  ),
)

FIGURES = ()


def over(name, title, ending, of, caption):
  """One quantity of all layers over the steps."""
  return dict(
    name=name,
    title=title,
    caption=caption,
    panels=(dict(label="784-128-128-64-10", cell="mlp", over_steps=ending, of=of),),
  )


PLANES = (
  over("dse", "Diffusion spectral entropy through training", "/nats", "dse/", DSE),
  over("dsmi", "DSMI with the label through training", "/i_ty_nats", "dsmi/", DSE),
  over("effective", "Effective dimension through training", "/dim", "effective/", ""),
  over("rank", "Local rank through training", "/relative", "rank/", RANK),
)
