"""What is shown: joint entropies of couplings, and what a code of a given rate lets be heard."""

LOG_BETAS = (-6.0, -5.5, -5.0, -4.5, -4.0, -3.5, -3.0)
NAMES = {"greedy": "EBIM", "uniform": "bins"}
RATES = {"greedy": (9.0, 7.0, 5.0, 3.0), "uniform": (7.0, 5.0, 3.0)}
CELL = "game/{}/rate={:g}/log_beta={:g}"

# At which temperature the codes are compared in full.
SHOWN = (-6.0, -5.0, -4.0)


def label(method, rate):
  """What a code is called."""
  return "the message, 9 bits" if rate == 9 else f"{NAMES[method]}, {rate:g} bits"


TABLES = (
  dict(
    name="couplings",
    title="Joint entropy of couplings of two random marginals",
    caption=(
      "Marginals of 20 letters proportional to |N(0, 1)|, which is inferred. A run is 100 pairs: "
      "deviation over the pairs, interval over the runs. Above the bound: the joint entropy less "
      "H(p meet q), below which no coupling goes."
    ),
    columns=(
      dict(key="entropy_nats", header="H(X,Y)", unit="nats", digits=3, lower_is_better=True),
      dict(key="entropy_sd_nats", header="deviation", unit="nats", digits=3),
      dict(key="above_bound_nats", header="above the bound", unit="nats", digits=3),
    ),
    rows=(
      dict(label="independent", cell="table1/independent", paper="independent"),
      dict(label="max-seeking", cell="table1/max_seeking", paper="max_seeking"),
      dict(label="zero-seeking", cell="table1/zero_seeking", paper="zero_seeking"),
    ),
  ),
  dict(
    name="codes",
    title="512 messages through a limited rate: what the receiver hears",
    caption=(
      "EBIM: the greedy entropy-bounded code; bins: of equal size. Policy of log beta = -4, whose "
      "actions can carry more than nine bits. Told the code: the "
      "accuracy of a receiver who knows T, the most there can be with this code."
    ),
    columns=(
      dict(key="rate_nats", header="H(T)", unit="nats", digits=3),
      dict(key="information_nats", header="I(M;T)", unit="nats", digits=3),
      dict(key="accuracy_frac", header="accuracy", unit="%", scale=100, digits=1),
      dict(key="ceiling_frac", header="told the code", unit="%", scale=100, digits=1),
      dict(key="belief_frac", header="belief in the message", unit="%", scale=100, digits=1),
      dict(key="reward", header="reward", digits=3),
    ),
    rows=tuple(
      dict(label=label(method, rate), cell=CELL.format(method, rate, -4.0))
      for method, rates in RATES.items()
      for rate in rates
    ),
  ),
  dict(
    name="temperature",
    title="Reward against what can be said, over the temperature of the policy",
    caption=(
      "The message itself, without a bottleneck. Value: the expected reward in closed form, "
      "which the coupling keeps, whatever is said; it has no end, an episode here ends after 100 "
      "steps at the latest."
    ),
    columns=(
      dict(key="accuracy_frac", header="accuracy", unit="%", scale=100, digits=1),
      dict(key="reward", header="reward", digits=3),
      dict(key="policy_value", header="value", digits=3),
      dict(key="goal_frac", header="goal reached", unit="%", scale=100, digits=1),
      dict(key="steps", header="steps", digits=1),
    ),
    rows=tuple(
      dict(label=f"log beta = {log_beta:g}", cell=CELL.format("greedy", 9.0, log_beta))
      for log_beta in LOG_BETAS
    ),
  ),
)


def series(method):
  """A line per rate, over the temperatures."""
  return tuple(
    dict(label=label(method, rate), cells=(f"game/{method}/rate={rate:g}/*",))
    for rate in RATES[method]
  )


def over_rate(method):
  """A line per temperature, over the rates."""
  return tuple(
    dict(
      label=f"{NAMES[method]}, log beta {log_beta:g}",
      cells=(f"game/{method}/*/log_beta={log_beta:g}",),
    )
    for log_beta in SHOWN
  )


FIGURES = (
  dict(
    name="reward",
    title="Accuracy against reward: entropy-bounded codes (EBIM)",
    caption="Along a line the temperature of the policy changes.",
    x=dict(key="reward", label="mean discounted reward"),
    y=(
      dict(key="accuracy_frac", label="accuracy, %", scale=100),
      dict(key="belief_frac", label="belief in the message, %", scale=100),
    ),
    series=series("greedy"),
  ),
  dict(
    name="reward_uniform",
    title="Accuracy against reward: equal bins",
    caption="Along a line the temperature of the policy changes.",
    x=dict(key="reward", label="mean discounted reward"),
    y=(
      dict(key="accuracy_frac", label="accuracy, %", scale=100),
      dict(key="belief_frac", label="belief in the message, %", scale=100),
    ),
    series=series("uniform"),
  ),
  dict(
    name="rate",
    title="Accuracy against the rate of the code",
    x=dict(key="rate_nats", label="H(T), nats"),
    y=(
      dict(key="accuracy_frac", label="accuracy, %", scale=100),
      dict(key="reward", label="mean discounted reward"),
    ),
    series=(*over_rate("greedy"), *over_rate("uniform")),
  ),
)
