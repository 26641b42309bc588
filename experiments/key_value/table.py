"""What is shown: accuracy on all classes at the end, on the way there, and what was forgotten."""

import math

NAMES = {
  "votes": "key-value bottleneck, values vote",
  "probe": "key-value bottleneck, linear decoder",
  "linear": "linear probe",
  "mlp": "MLP",
  "rehearsal": "MLP with rehearsal",
}
TITLES = {"cifar10": "CIFAR-10, features of EfficientNet-Lite0", "fashion": "Fashion-MNIST"}
MEMORY = {"toy": 40, "cifar10": 500, "fashion": 500}


def measured(key, header, lower_is_better=False):
  """A column of a fraction, in per cent."""
  return dict(
    key=key, header=header, unit="%", scale=100, digits=1, lower_is_better=lower_is_better
  )


COLUMNS = (
  measured("accuracy_frac", "accuracy"),
  measured("average_accuracy_frac", "average accuracy"),
  measured("forgetting_frac", "forgetting", lower_is_better=True),
)


def rows(data, methods):
  """The methods on one problem; the linear decoder was not run on Fashion-MNIST."""
  for method in methods:
    if (data, method) == ("fashion", "probe"):
      continue
    more = f" of {MEMORY[data]}" if method == "rehearsal" else ""
    yield dict(label=NAMES[method] + more, cell=f"{data}/{method}")


TABLES = (
  dict(
    name="toy",
    title="Eight Gaussian classes, two at a time",
    columns=COLUMNS,
    rows=tuple(rows("toy", ("votes", "linear", "mlp", "rehearsal"))),
  ),
  *(
    dict(
      name=data,
      title=f"{title}, two classes at a time",
      columns=COLUMNS,
      rows=(
        *rows(data, NAMES),
        *(
          [dict(label="values vote, keys of Fashion-MNIST itself", cell="fashion/own_keys")]
          if data == "fashion"
          else []
        ),
      ),
    )
    for data, title in TITLES.items()
  ),
  *(
    dict(
      name=f"{data}_stages",
      title=f"{title}: accuracy on all ten classes after each group",
      columns=tuple(measured(f"after_{t}_accuracy_frac", f"group {t}") for t in range(1, 6)),
      rows=tuple(rows(data, NAMES)),
    )
    for data, title in TITLES.items()
  ),
  dict(
    name="all",
    title="The control: all classes at once, as many passes",
    columns=COLUMNS[:1],
    rows=tuple(
      dict(label=f"{TITLES[data]}, {NAMES[method]}", cell=f"{data}/all/{method}")
      for data in TITLES
      for method in ("votes", "linear")
    ),
  ),
  dict(
    name="bits",
    title="What a code takes",
    columns=(dict(key="bits", header="bits", digits=0),),
    rows=(
      dict(label="toy, 20 heads of 20 keys", cell="toy/votes"),
      dict(label="CIFAR-10 and Fashion-MNIST, 64 heads of 256 keys", cell="cifar10/votes"),
    ),
  ),
)

FIGURES = ()


def derive(row, config):
  """Nominal bits of a code, of its rate in nats."""
  return {"bits": row["rate_nats"] / math.log(2)} if "rate_nats" in row else {}
