"""What is shown: the generalisation gap of both problems, and VIB over beta between the ends."""

BETAS = (0.01, 0.03, 0.1, 0.3)

TRAIN = dict(key="train_split/nll_nats", header="train NLL", unit="nats", digits=3)
TEST = dict(key="test/nll_nats", header="test NLL", unit="nats", digits=3, lower_is_better=True)
GAP = dict(key="gap_nats", header="test less train", unit="nats", digits=3)
PAID = dict(key="paid_nats", header="paid for latents", unit="nats", digits=2)
ERROR = dict(
  key="test/err_frac", header="test error", unit="%", scale=100, digits=1, lower_is_better=True
)
ECE = dict(key="test/ece_frac", header="ECE", unit="%", scale=100, digits=1, lower_is_better=True)
RMSE = dict(key="rmse", header="test RMSE", digits=3, lower_is_better=True)


def derive(row, config):
  """What a run's own metrics say together."""
  found = {"gap_nats": row["test/nll_nats"] - row["train_split/nll_nats"]}
  # What the latents cost, per training example: VIB pays for each example's code, Bayes once for
  # the weights.
  if "train_split/rate_nats" in row:
    found["paid_nats"] = row["train_split/rate_nats"]
  if "train_split/parameter_kl_nats" in row:
    found["paid_nats"] = row["train_split/parameter_kl_nats"] / config["data"]["batch_size"]
  if "test/mse" in row:
    found["rmse"] = row["test/mse"] ** 0.5
  return found


def rows(problem):
  """A row per method, its draws of the data pooled."""
  return (
    dict(label="Maximum likelihood", cells=(f"{problem}/empirical/draw=*",)),
    *(
      dict(label=f"VIB, beta = {beta:g}", cells=(f"{problem}/vib/beta={beta:g}/draw=*",))
      for beta in BETAS
    ),
    dict(label="Bayes", cells=(f"{problem}/bayes/draw=*",)),
  )


TABLES = (
  dict(
    name="classification",
    title="Classification: two moons, 10% of the labels swapped",
    columns=(TRAIN, TEST, GAP, PAID, ERROR, ECE),
    rows=rows("moons"),
  ),
  dict(
    name="regression",
    title="Regression: a sine with a gap in the training inputs",
    columns=(TRAIN, TEST, GAP, PAID, RMSE),
    rows=rows("sine"),
  ),
)


def over_beta(problem, word):
  """Both NLLs and the gap against beta."""
  return dict(
    name=f"{word}_over_beta",
    title=f"VIB over beta: {word}",
    x=dict(config="objective.beta", label="beta", log=True),
    y=(
      dict(key="train_split/nll_nats", label="train NLL, nats"),
      dict(key="test/nll_nats", label="test NLL, nats"),
    ),
    series=(
      dict(
        label="VIB",
        points=tuple((f"{problem}/vib/beta={beta:g}/draw=*",) for beta in BETAS),
      ),
    ),
  )


FIGURES = (over_beta("moons", "classification"), over_beta("sine", "regression"))
