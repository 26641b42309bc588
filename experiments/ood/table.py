"""What is shown: how well each score of each model tells outside inputs, and its own errors."""

SOURCES = {"mnist": "MNIST", "kmnist": "KMNIST"}
MODELS = {
  "plain": "no bottleneck",
  "vib": "VIB",
  "dab1": "DAB, 1 Gaussian",
  "dab": "DAB, 10 Gaussians",
}
SCORES = {
  "confidence": "largest probability",
  "energy": "energy",
  "mahalanobis": "Mahalanobis",
  "neighbours": "50th neighbour",
}


def measured(key, header, digits=1, lower_is_better=False):
  """A column of a fraction, in per cent."""
  return dict(
    key=key,
    header=header,
    unit="%",
    scale=100,
    digits=digits,
    lower_is_better=lower_is_better,
  )


def columns(score):
  """AUROC and FPR95 of a score for each outside source, and AUROC for the model's own errors."""
  for source, name in SOURCES.items():
    yield measured(f"outside/{source}_{score}_auroc_frac", f"{name} AUROC")
    yield measured(f"outside/{source}_{score}_fpr95_frac", f"{name} FPR95", lower_is_better=True)
  yield measured(f"errors/{score}_auroc_frac", "own errors AUROC")


# A column shows one metric, so each score is a table of the models that have it.
TABLES = (
  *(
    dict(
      name=score,
      title=f"Score: {text}",
      columns=tuple(columns(score)),
      rows=tuple(dict(label=label, cell=model) for model, label in MODELS.items()),
    )
    for score, text in SCORES.items()
  ),
  dict(
    name="rate",
    title="Score: the rate",
    columns=tuple(columns("rate")),
    rows=tuple(dict(label=MODELS[model], cell=model) for model in ("vib", "dab1", "dab")),
  ),
  dict(
    name="distance",
    title="Score: the distance to the codebook",
    columns=tuple(columns("distance")),
    rows=tuple(dict(label=MODELS[model], cell=model) for model in ("dab1", "dab")),
  ),
  dict(
    name="models",
    title="The models",
    columns=(
      measured("test/err_frac", "test error", digits=2, lower_is_better=True),
      measured("test/ece_frac", "ECE", digits=2, lower_is_better=True),
      measured("corrupted/mean_err_frac", "error, corrupted", lower_is_better=True),
    ),
    rows=tuple(dict(label=label, cell=model) for model, label in MODELS.items()),
  ),
)

FIGURES = ()
