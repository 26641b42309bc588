"""What is shown: how far each measure of complexity orders the networks as their gap does."""

import math

WIDTHS = (32, 64, 128, 256)
DECAYS = (0.0, 0.01, 0.1)
BETAS = (0.0, 1e-3, 1e-2)

NATS = ("i_xz_y_jensen_upper_nats", "i_phi_s_jensen_upper_nats", "i_theta_s_jensen_upper_nats")


def derive(row, config):
  """Logarithms of what spans orders of magnitude, and the bound's sum by Jensen's inequality."""
  del config
  found = {f"log10_{name}": math.log10(max(row[name], 1e-9)) for name in (*NATS, "parameters")}
  both = row["i_xz_y_jensen_upper_nats"] + row["i_phi_s_jensen_upper_nats"]
  return found | {"log10_sum_jensen_nats": math.log10(max(both, 1e-9))}


def rows(pattern, values):
  """A row to each value of one axis: the networks that share it."""
  return tuple(
    dict(label=pattern.format(f"{value:g}").replace("=", " = "), cells=(f"*{form}*",))
    for value in values
    for form in (pattern.format(f"{value:g}") + "/",)
  )


GROUPS = (
  dict(label="all", cells=("width=*",)),
  *rows("width={}", WIDTHS),
  *rows("decay={}", DECAYS),
  *rows("beta={}", BETAS),
)

COLUMNS = (
  dict(key="i_xz_y_lower_nats", header="I(X;Z given Y), from below"),
  dict(key="log10_i_xz_y_jensen_upper_nats", header="log I(X;Z given Y), Jensen"),
  dict(key="i_xz_lower_nats", header="I(X;Z), from below"),
  dict(key="log10_i_phi_s_jensen_upper_nats", header="log I(phi;S), Jensen"),
  dict(key="log10_sum_jensen_nats", header="log of the sum, Jensen"),
  dict(key="log10_parameters", header="log parameters"),
  dict(key="weight_norm", header="norm of weights"),
)

CORRELATIONS = tuple(
  dict(
    name=name,
    title=f"What goes with {label}",
    key=key,
    label=label,
    columns=COLUMNS,
    rows=GROUPS,
    caption=(
      "A run is one setting and start, trained on three samples of 50 examples; gap and measures "
      "are means over these. Runs of a setting are not independent; the intervals do not know."
    ),
  )
  for name, key, label in (
    ("gap", "gap_nats", "the gap in loss, test less train"),
    ("gap_error", "gap_err_frac", "the gap in error, test less train"),
  )
)

TABLES = (
  dict(
    name="networks",
    title="What was trained",
    caption=(
      "I(X;Z given Y) from below is at most the log of a class's 200 test examples, 5.3 nats. "
      "I(phi;S) by Jensen's inequality has no ceiling, and is far above log 3, which is all that "
      "one of three samples can say: it orders, and measures nothing."
    ),
    columns=(
      dict(key="train_err_frac", header="train error", unit="%", scale=100, digits=1),
      dict(key="test_err_frac", header="test error", unit="%", scale=100, digits=1),
      dict(key="gap_nats", header="gap", unit="nats", digits=3, lower_is_better=True),
      dict(key="i_xz_y_lower_nats", header="I(X;Z given Y) at least", unit="nats", digits=2),
      dict(key="i_xz_lower_nats", header="I(X;Z) at least", unit="nats", digits=2),
      dict(key="log10_i_phi_s_jensen_upper_nats", header="log10 I(phi;S), Jensen", digits=2),
    ),
    rows=tuple(
      dict(
        label=f"width {width}, decay {decay:g}, beta {beta:g}",
        cells=(f"width={width}/decay={decay:g}/beta={beta:g}/problem=*",),
      )
      for width in WIDTHS
      for decay in DECAYS
      for beta in BETAS
    ),
  ),
)

FIGURES = (
  dict(
    name="gap",
    title="Gap against what the code keeps beyond the label",
    x=dict(key="i_xz_y_lower_nats", label="I(X;Z given Y) at least, nats"),
    y=(
      dict(key="gap_nats", label="gap in loss, nats"),
      dict(key="gap_err_frac", label="gap in error, %", scale=100),
    ),
    caption="A point is a width and a price of rate, over problems and starts.",
    series=tuple(
      dict(
        label=f"decay {decay:g}",
        points=tuple(
          (f"width={width}/decay={decay:g}/beta={beta:g}/problem=*",)
          for width in WIDTHS
          for beta in BETAS
        ),
      )
      for decay in DECAYS
    ),
  ),
)
